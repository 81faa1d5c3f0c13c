-- No row of any table is the owner's to see or write. cardbase_owner has to inherit from the roles that functions run
-- as, because it creates their functions anew with each deploy; policies are inherited with the rest. A restrictive
-- policy, which is combined with them by "and", closes what they open. It doesn't concern those roles themselves, nor
-- foreign keys: their checks pass by forced row-level security.
-- A migration that has to read or write rows says "no force row level security" first.
do $do$
declare
    _table name;
begin
    for _table in
        select pg_class.relname
        from pg_class
        where pg_class.relnamespace = 'app'::regnamespace and pg_class.relkind in ('r', 'p')
        order by pg_class.relname
    loop
        execute format('drop policy if exists "the owner sees no row" on app.%I', _table);
        execute format(
            'create policy "the owner sees no row" on app.%I as restrictive to cardbase_owner using (false)', _table
        );
    end loop;
end;
$do$;
