begin;
\ir helpers/tests.psql
select plan(6);

-- Registrations from a network: all of those that are allowed, and one more
set local role cardbase_api;
select is(
    (
        select array_agg(distinct app.count_registration('192.0.2.1' || left('', attempt)) is null)
        from generate_series(1, 100) as attempt
    ),
    array[true],
    'a hundred may register'
);
select ok(app.count_registration('192.0.2.1') between 890 and 900, 'one more waits until the window ends');
select is(app.count_registration('192.0.2.2'), null, 'another network is counted for itself');
select results_eq(
    $$ select reply.status, reply.headers, reply.body from app.too_many_attempts(900) as reply $$,
    $$ values (429::smallint, '{"Retry-After": "900"}'::jsonb, null::jsonb) $$,
    'the reply says how long'
);

-- Who counts nothing
set local role cardbase_service;
select throws_ok($$ select app.count_registration('192.0.2.3') $$, '42501', null, 'a service counts no registrations');
select throws_ok($$ select app.too_many_attempts(1) $$, '42501', null, 'and makes no replies of ours');
reset role;

select * from finish();
rollback;
