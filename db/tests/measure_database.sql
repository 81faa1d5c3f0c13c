begin;
\ir helpers/tests.psql
select plan(12);

insert into app.cards (tenant_id, card_id, card_type, content)
values ('aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000001', 'voice', '{"name": "ours"}');
insert into app.card_usage_totals (tenant_id, card_id, usage_count, last_used_at)
values ('aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000001', 1, '2001-01-01');
insert into app.card_usage (tenant_id, card_id, used_at)
values ('aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000001', now() - interval '1000 days');
insert into app.idempotency_store (tenant_id, idempotency_key, fingerprint, status, created_at, expires_at)
values ('aaaaaaaa-0000-0000-0000-000000000000', 'expired', '\x01', 200, '1999-01-01', now() - interval '9000 days');
insert into app.pending_jobs (tenant_id, id, priority, kind, run_at, is_ready)
select
    made.tenant_id,
    gen_random_uuid(),
    made.priority,
    'test',
    now() + made.delay,
    -- A job that is due counts, even where no worker has looked since.
    made.delay < interval '-1 minute'
from (
    values
    (tests.tenant('acme'), 0, interval '-1 hour'),
    (tests.tenant('acme'), 0, interval '-1 minute'),
    (tests.tenant('globex'), 0, interval '1 hour'),
    (tests.tenant('globex'), 0, interval '2 hours'),
    (tests.tenant('globex'), -1, interval '1 hour')
) as made (tenant_id, priority, delay);
insert into deployment.settings (name, value) values ('tenant_pending_jobs', '12')
on conflict (name) do update set value = excluded.value;

set local role cardbase_worker;
create temporary table figure as
select * from app.measure_database(usage_retention_days => 999);

select set_eq(
    'select distinct metric from figure',
    array[
        'cards_database_blocks_total', 'cards_database_connections', 'cards_database_connections_max',
        'cards_database_deadlocks_total', 'cards_database_size_bytes', 'cards_database_temporary_bytes_total',
        'cards_database_transaction_age', 'cards_database_transactions_total', 'cards_jobs_busiest_tenant_ratio',
        'cards_jobs_oldest_pending_seconds', 'cards_jobs_pending', 'cards_jobs_put_off',
        'cards_maintenance_lag_seconds',
        'cards_table_dead_rows', 'cards_table_rows', 'cards_table_size_bytes'
    ],
    'these are the metrics'
);
select is_empty('select * from figure where value is null or value < 0', 'every metric has a value');
select is_empty(
    'select metric, labels from figure group by metric, labels having count(*) > 1',
    'no metric has two values for the same labels'
);
select is_empty(
    $$ select metric from figure group by metric having count(distinct array(select jsonb_object_keys(labels))) > 1 $$,
    'all values of a metric have the same labels'
);
select set_eq(
    $$ select labels ->> 'table' from figure where metric = 'cards_table_rows' $$,
    $$
    select relname::text
    from pg_class
    where relnamespace = (select oid from pg_namespace where nspname = 'app') and relkind = 'r'
    $$,
    'every table of app is measured, and no other'
);
select results_eq(
    $$ select labels ->> 'task', value from figure where metric = 'cards_maintenance_lag_seconds' order by 1 $$,
    $$ values ('card_usage', 86400::double precision), ('idempotency_store', 777600000::double precision) $$,
    'the lag is how long ago the oldest row became due'
);
select is(
    (
        select value
        from app.measure_database()
        where metric = 'cards_maintenance_lag_seconds' and labels ->> 'task' = 'card_usage'
    ),
    0::double precision,
    'where events are kept for ever none is due'
);
select cmp_ok(
    (
        select value
        from figure
        where metric = 'cards_database_size_bytes'
    ),
    '>',
    1000000::double precision,
    'sizes are in bytes'
);
create function pg_temp.by_queue(metric text)
returns text
language sql
return (
    select string_agg(figure.labels ->> 'queue' || ': ' || figure.value, ', ' order by figure.labels ->> 'queue')
    from figure
    where figure.metric = by_queue.metric
);
select is(
    pg_temp.by_queue('cards_jobs_pending'), 'default: 2, high: 0, low: 0', 'due jobs are counted by their queue'
);
select is(pg_temp.by_queue('cards_jobs_put_off'), 'default: 2, high: 0, low: 1', 'so are those that are put off');
select is(
    pg_temp.by_queue('cards_jobs_oldest_pending_seconds'),
    'default: 3600, high: 0, low: 0',
    'the oldest is that which has been due for longest'
);
select is(
    (
        select value
        from figure
        where metric = 'cards_jobs_busiest_tenant_ratio'
    ),
    0.25::double precision,
    'the busiest tenant has a quarter of the jobs that it may have pending'
);

select * from finish();
rollback;
