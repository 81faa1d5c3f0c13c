begin;
\ir helpers/tests.psql
select plan(11);

insert into app.cards (tenant_id, card_id, card_type, content)
values ('aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000001', 'voice', '{"name": "ours"}');
insert into app.card_usage_totals (tenant_id, card_id, usage_count, last_used_at)
values ('aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000001', 3, '2001-01-01');
insert into app.card_usage (tenant_id, card_id, used_at)
select
    'aaaaaaaa-0000-0000-0000-000000000000',
    'aaaaaaaa-0000-0000-0000-000000000001',
    make_timestamptz(2000, 1, day, 0, 0, 0)
from generate_series(1, 3) as day;
insert into app.idempotency_store (tenant_id, idempotency_key, fingerprint, status, created_at, expires_at)
select
    'aaaaaaaa-0000-0000-0000-000000000000',
    'expired ' || day,
    '\x01',
    200,
    '1999-01-01',
    make_timestamptz(2000, 1, day, 0, 0, 0)
from generate_series(1, 3) as day;

set local role cardbase_worker;
select results_eq(
    $$
    select * from app.run_maintenance(maximum_rows => 2)
    where task in ('idempotency_store', 'sign_in', 'card_usage')
    $$,
    $$ values ('idempotency_store', 'removed', 2::bigint), ('sign_in', 'removed', 0) $$,
    'one step removes as many rows as it says, and without a retention no events'
);
select results_eq(
    $$
    select * from app.run_maintenance(36500, 1)
    where task in ('idempotency_store', 'sign_in', 'card_usage')
    $$,
    $$
    values
    ('idempotency_store', 'removed', 1::bigint),
    ('sign_in', 'removed', 0),
    ('card_usage', 'removed', 0::bigint)
    $$,
    'events stay as long as the retention says'
);
select results_eq(
    $$
    select * from app.run_maintenance(usage_retention_days => 1, maximum_rows => 2)
    where task in ('idempotency_store', 'sign_in', 'card_usage')
    $$,
    $$
    values
    ('idempotency_store', 'removed', 0::bigint),
    ('sign_in', 'removed', 0),
    ('card_usage', 'removed', 2::bigint)
    $$,
    'with a retention old events go, too'
);
select results_eq(
    $$
    select * from app.run_maintenance(1)
    where task in ('idempotency_store', 'sign_in', 'card_usage')
    $$,
    $$
    values
    ('idempotency_store', 'removed', 0::bigint),
    ('sign_in', 'removed', 0),
    ('card_usage', 'removed', 1::bigint)
    $$,
    'the next step takes the rest'
);
select results_eq(
    'select task, action from app.run_maintenance(1)',
    $$
    values
    ('idempotency_store', 'removed'),
    ('sign_in', 'removed'),
    ('jobs', 'removed'),
    ('events', 'removed'),
    ('card_search', 'indexed'),
    ('card_usage', 'removed')
    $$,
    'these are the tasks, and what each does with rows'
);
reset role;
insert into app.card_search_queue (tenant_id, card_ids)
values ('aaaaaaaa-0000-0000-0000-000000000000', array['aaaaaaaa-0000-0000-0000-000000000001']::uuid[]);
set local role cardbase_worker;
select results_eq(
    $$
    select * from app.run_maintenance()
    where task = 'card_search'
    $$,
    $$ values ('card_search', 'indexed', 1::bigint) $$,
    'a card made ready for searches is reported as indexed'
);
select throws_ok(
    'select app.run_maintenance(0)', '22023', 'retention_days is out of range', 'a retention of no day is refused'
);
select throws_ok(
    'select app.run_maintenance(1, 0)', '22023', 'maximum_rows is out of range', 'a step of no row is refused'
);
reset role;

select is_empty(
    $$ select 1 from app.idempotency_store where idempotency_key like 'expired %' $$, 'what has expired is gone'
);
select is_empty(
    $$ select 1 from app.card_usage where tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000' $$, 'what is old is gone'
);
select isnt_empty(
    $$
    select 1
    from pg_locks
    where
        pg_locks.locktype = 'advisory'
        and pg_locks.pid = pg_backend_pid()
        and (pg_locks.classid::bigint << 32) | pg_locks.objid::bigint = hashtextextended('cardbase maintenance', 0)
    $$,
    'the lock that keeps others away is held until the transaction ends'
);

select * from finish();
rollback;
