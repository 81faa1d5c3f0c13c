-- The extensions that tables and functions are built on. Both are trusted: who may create in the database may
-- install them. They stay where they are when somebody installed them before.
do $do$
declare
    _extension text;
begin
    for _extension in
        select wanted.name
        from unnest(array['btree_gin', 'pg_trgm']) as wanted (name)
        where not exists (select from pg_extension where pg_extension.extname = wanted.name)
    loop
        execute format('create extension %I with schema public', _extension);
        raise info 'extension %: created', _extension;
    end loop;
end;
$do$;
