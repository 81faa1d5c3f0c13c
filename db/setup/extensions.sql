-- The extensions that tables and functions are built on. Both are trusted: whoever may create in the database
-- may install them. Those that are installed already stay where they are.
-- pgvector, too, where the server has it and the deploying role may: without it all but search by nearness works.
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

    if exists (select from pg_available_extensions where name = 'vector' and installed_version is null) then
        begin
            create extension vector with schema public;
            raise info 'extension vector: created';
        exception
            when insufficient_privilege then null;
        end;
    end if;
end;
$do$;
