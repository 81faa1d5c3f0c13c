begin;
\ir helpers/tests.psql
select plan(3);

select results_eq(
    $$
    select
        name,
        app.resource_group(name)
    from unnest(array['conversations', 'integrations', 'memories', 'messages', 'tasks', 'users']) as name
    $$,
    $$
    values
    ('conversations', null),
    ('integrations', 'provider'),
    ('memories', 'memory_type'),
    ('messages', 'conversation_id'),
    ('tasks', 'status'),
    ('users', null)
    $$,
    'these columns are the ones that totals are kept by'
);
select is_empty(
    $$
    select relname
    from pg_class
    where
        relnamespace = 'app'::regnamespace
        and relkind = 'r'
        and app.resource_group(relname::text) is not null
        and not exists (
            select
            from pg_attribute
            where attrelid = pg_class.oid and attname = app.resource_group(relname::text) and attnotnull
        )
    $$,
    'each is a column of its table that is never null'
);
select is(app.resource_group(null), null, 'no table has none');

select * from finish();
rollback;
