begin;
\ir helpers/tests.psql
select plan(7);

insert into app.cards (tenant_id, card_type, content, deleted_at)
values
(tests.tenant('acme'), 'voice', '{"n": 1}', null),
(tests.tenant('acme'), 'company', '{"n": 2}', null),
(tests.tenant('acme'), 'voice', '{"n": 3}', '2026-01-02'),
(tests.tenant('globex'), 'voice', '{"n": 1}', null);

-- A service of the tenant
set local role cardbase_service;
select results_eq(
    $$ select status, body from api.new_function(tests.tenant('acme')) $$,
    $$ values (200::smallint, '{"count": 2}'::jsonb) $$,
    'active cards are counted, deleted ones are not'
);
select results_eq(
    $$ select body from api.new_function(tests.tenant('acme'), 'voice') $$,
    $$ values ('{"count": 1}'::jsonb) $$,
    'only cards of the type are counted'
);

-- Another tenant, and none
select results_eq(
    $$ select body from api.new_function(tests.tenant('globex')) $$,
    $$ values ('{"count": 1}'::jsonb) $$,
    'another tenant sees its own cards alone'
);
select results_eq(
    $$ select body from api.new_function(null) $$,
    $$ values ('{"count": 0}'::jsonb) $$,
    'without a tenant there are none'
);

-- The other roles that log in
set local role cardbase_gateway;
select lives_ok($$ select api.new_function(tests.tenant('acme')) $$, 'the gateway may call it');
set local role cardbase_worker;
select throws_ok(
    $$ select api.new_function(tests.tenant('acme')) $$, '42501', null, 'the worker may not, as it has no use for it'
);
reset role;

select volatility_is('api', 'new_function', array['uuid', 'text'], 'stable', 'new_function changes nothing');

select * from finish();
rollback;
