begin;
\ir helpers/tests.psql
select plan(4);

set local role cardbase_gateway;
select is(
    api.remember_request('aaaaaaaa-0000-0000-0000-000000000000', null, 'k', 'f', '[1]', 1, 1, 1, null),
    row(200, '{"row_count": 1, "total_count": 1, "X-Idempotency-Cache": "MISS"}', null, null)::api.reply,
    'an answer without a body is kept, too'
);
select is(
    current_setting('app.current_tenant_id'),
    'aaaaaaaa-0000-0000-0000-000000000000',
    'it is kept under the tenant that it was given'
);
select throws_ok(
    $$ select api.remember_request('aaaaaaaa-0000-0000-0000-000000000000', null, 'k', 'f', '[1]', 1, 1, 1, null) $$,
    '40001',
    null,
    'what another transaction has kept meanwhile is not overwritten'
);

reset role;
select results_eq(
    $$
    select
        stored.tenant_id,
        stored.status,
        stored.headers,
        stored.body
    from app.idempotency_store as stored
    where stored.idempotency_key = 'k'
    $$,
    $$
    values (
        'aaaaaaaa-0000-0000-0000-000000000000'::uuid,
        200::smallint,
        '{"row_count": 1, "total_count": 1}'::jsonb,
        null::jsonb
    )
    $$,
    'one row is kept, without the mark that it was new'
);

select * from finish();
rollback;
