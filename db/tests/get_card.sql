begin;
\ir helpers/tests.psql
select plan(14);

insert into app.cards (tenant_id, card_id, card_type, content, deleted_at, version)
values
(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', 'voice', '{"n": 1}', null, 1),
(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000002', 'voice', '{"n": 2}', null, 4),
(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000003', 'voice', '{"n": 3}', '2026-01-02', 1),
(tests.tenant('globex'), 'bbbbbbbb-0000-0000-0000-000000000001', 'voice', '{"n": 1}', null, 1);
insert into app.card_usage_totals (tenant_id, card_id, usage_count, last_used_at)
values (tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000002', 3, '2026-01-03');

create temporary table expected as
select
    card.card_id,
    app.card_document(card, total) as document
from app.cards as card
left join app.card_usage_totals as total
    on card.tenant_id = total.tenant_id and card.card_id = total.card_id;
grant select on expected to cardbase_service, cardbase_gateway;

-- A service of the tenant
set local role cardbase_service;
select results_eq(
    $$
    select status, headers, body, measures
    from api.get_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001')
    $$,
    $$
    select 200::smallint, '{"ETag": "\"1-0\""}'::jsonb, document, null::jsonb
    from expected
    where card_id = 'aaaaaaaa-0000-0000-0000-000000000001'
    $$,
    'a card is answered with 200 and its ETag'
);
select results_eq(
    $$
    select headers, body
    from api.get_card(tenant_id => tests.tenant('acme'), card_id => 'aaaaaaaa-0000-0000-0000-000000000002')
    $$,
    $$
    select '{"ETag": "\"4-3\""}'::jsonb, document
    from expected
    where card_id = 'aaaaaaaa-0000-0000-0000-000000000002'
    $$,
    'a card that was changed and used says so in its ETag'
);
select throws_ok(
    $$ select api.get_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000f') $$,
    'PT404',
    null,
    'a card that never was is not found'
);
select throws_ok(
    $$ select api.get_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000003') $$,
    'PT404',
    null,
    'a deleted card is not found'
);
select throws_ok(
    $$ select api.get_card(tests.tenant('acme'), 'bbbbbbbb-0000-0000-0000-000000000001') $$,
    'PT404',
    null,
    'another tenant''s card is not found'
);
select is(
    replace(
        tests.refusal($$ select api.get_card(tests.tenant('acme'), 'bbbbbbbb-0000-0000-0000-000000000001') $$)::text,
        'bbbbbbbb-0000-0000-0000-000000000001',
        'aaaaaaaa-0000-0000-0000-00000000000f'
    ),
    tests.refusal($$ select api.get_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000f') $$)::text,
    'the refusal of another tenant''s card is word for word that of a card that never was'
);
select throws_ok(
    $$ select api.get_card(tests.tenant('acme'), null) $$, 'PT404', null, 'no card is not found'
);

-- Another tenant, and none
select results_eq(
    $$ select body -> 'card_id' from api.get_card(tests.tenant('globex'), 'bbbbbbbb-0000-0000-0000-000000000001') $$,
    $$ values ('"bbbbbbbb-0000-0000-0000-000000000001"'::jsonb) $$,
    'the other tenant finds its own card'
);
select throws_ok(
    $$ select api.get_card(tests.tenant('globex'), 'aaaaaaaa-0000-0000-0000-000000000001') $$,
    'PT404',
    null,
    'the other tenant does not find this one''s'
);
select throws_ok(
    $$ select api.get_card(null, 'aaaaaaaa-0000-0000-0000-000000000001') $$,
    'PT404',
    null,
    'without a tenant no card is found'
);

-- The gateway
set local role cardbase_gateway;
select results_eq(
    $$ select status from api.get_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001') $$,
    $$ values (200::smallint) $$,
    'the gateway may get a card'
);

-- The private helper beneath it
set local role cardbase_api;
select tests.set_tenant(tests.tenant('acme'));
select is_empty(
    $$ select etag from app.read_card(tests.tenant('globex'), 'bbbbbbbb-0000-0000-0000-000000000001') $$,
    'the policy hides another tenant''s card from read_card, whatever tenant it is told'
);
select is_empty(
    $$ select etag from app.read_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000003') $$,
    'read_card passes over a deleted card'
);
reset role;

select volatility_is('api', 'get_card', array['uuid', 'uuid'], 'stable', 'get_card changes nothing');

select * from finish();
rollback;
