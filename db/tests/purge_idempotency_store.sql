begin;
\ir helpers/tests.psql
select plan(16);

-- Expired long before any other row, so that these come first.
insert into app.idempotency_store (tenant_id, idempotency_key, fingerprint, status, body, created_at, expires_at)
select
    tenant.id,
    'expired ' || day,
    '\x01'::bytea,
    200,
    '{}'::jsonb,
    '1999-01-01'::timestamptz,
    make_timestamptz(2000, 1, day, tenant.hour, 0, 0)
from (
    values
    ('aaaaaaaa-0000-0000-0000-000000000000'::uuid, 1),
    ('bbbbbbbb-0000-0000-0000-000000000000', 2)
) as tenant (id, hour)
cross join generate_series(1, 3) as day
union all
select
    'aaaaaaaa-0000-0000-0000-000000000000',
    'expires now',
    '\x01',
    200,
    '{}',
    '1999-01-01',
    now()
union all
select
    'aaaaaaaa-0000-0000-0000-000000000000',
    'expires later',
    '\x01',
    200,
    '{}',
    '1999-01-01',
    now() + interval '1 microsecond'
union all
select
    'bbbbbbbb-0000-0000-0000-000000000000',
    'expires much later',
    '\x01',
    200,
    '{}',
    '1999-01-01',
    'infinity';
create temporary view stored as
select
    idempotency_store.tenant_id,
    idempotency_store.idempotency_key
from app.idempotency_store
where
    idempotency_store.tenant_id in ('aaaaaaaa-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000000');

select
    throws_ok(
        format('select app.purge_idempotency_store(%L)', refused.maximum_rows),
        '22023',
        'maximum_rows is out of range',
        refused.rule
    )
from (
    values
    (0, 'to remove none is refused'),
    (-1, 'to remove fewer than none is refused'),
    (100001, 'to remove more than 100,000 in one call is refused'),
    (null, 'to remove an unknown number is refused')
) as refused (maximum_rows, rule);
select is(
    tests.refusal('select app.purge_idempotency_store(0)') ->> 'detail',
    'Expected 1 to 100,000, got 0.',
    'the refusal names the bounds and the number'
);
select is((select count(*) from stored), 9::bigint, 'a refused purge removes nothing');

select is(app.purge_idempotency_store(1), 1::bigint, 'a call removes as many rows as it says, and no more');
select is((select count(*) from stored), 8::bigint, 'what is removed is gone from the table');
select is_empty(
    $$
    select 1
    from stored
    where tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000' and idempotency_key = 'expired 1'
    $$,
    'the row that expired first goes first'
);

select is(app.purge_idempotency_store(3), 3::bigint, 'one call removes rows of several tenants');
select set_eq(
    $$ select tenant_id::text, idempotency_key from stored where idempotency_key like 'expired %' $$,
    $$
    values
    ('aaaaaaaa-0000-0000-0000-000000000000', 'expired 3'),
    ('bbbbbbbb-0000-0000-0000-000000000000', 'expired 3')
    $$,
    'rows go in the order in which they expired, whoever they belong to'
);

select cmp_ok(
    app.purge_idempotency_store(100000),
    '>=',
    3::bigint,
    'a purge without that many rows to remove removes what there is'
);
select is(app.purge_idempotency_store(), 0::bigint, 'when nothing is left a purge removes nothing');
select set_eq(
    'select tenant_id::text, idempotency_key from stored',
    $$
    values
    ('aaaaaaaa-0000-0000-0000-000000000000', 'expires later'),
    ('bbbbbbbb-0000-0000-0000-000000000000', 'expires much later')
    $$,
    'rows that have not expired stay'
);

insert into app.idempotency_store (tenant_id, idempotency_key, fingerprint, status, created_at, expires_at)
select
    'aaaaaaaa-0000-0000-0000-000000000000',
    'expired ' || n,
    '\x01',
    200,
    '1999-01-01',
    '2000-01-01'
from generate_series(1, 1001) as n;
select is(app.purge_idempotency_store(), 1000::bigint, 'a call that names no number removes 1,000 rows at most');

set local role cardbase_worker;
select lives_ok('select app.purge_idempotency_store()', 'a worker may purge');

select * from finish();
rollback;
