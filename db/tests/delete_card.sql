begin;
\ir helpers/tests.psql
select plan(25);

insert into app.cards (tenant_id, card_id, card_type, content, source_session_id)
values
(
    tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', 'voice', '{"n": 1}',
    'aaaaaaaa-0000-0000-0000-000000000009'
),
(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000002', 'voice', '{"n": 2}', null),
(tests.tenant('globex'), 'bbbbbbbb-0000-0000-0000-000000000001', 'voice', '{"n": 1}', null);
insert into app.card_usage_totals (tenant_id, card_id, usage_count, last_used_at)
values (tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', 3, '2026-01-03');
insert into app.card_usage (tenant_id, card_id, workflow_id)
values (tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', 'workflow-1');

create temporary table card_before as
select card.*
from app.cards as card;
create temporary table usage_before as
select event.*
from app.card_usage as event;
create temporary table total_before as
select total.*
from app.card_usage_totals as total;

-- Refusals, of a service of the tenant
set local role cardbase_service;
select throws_ok(
    $$ select api.delete_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000f') $$,
    'PT404',
    null,
    'a card that never was is not found'
);
select throws_ok(
    $$ select api.delete_card(tests.tenant('acme'), 'bbbbbbbb-0000-0000-0000-000000000001') $$,
    'PT404',
    null,
    'another tenant''s card is not found'
);
select is(
    replace(
        tests.refusal($$ select api.delete_card(tests.tenant('acme'), 'bbbbbbbb-0000-0000-0000-000000000001') $$)::text,
        'bbbbbbbb-0000-0000-0000-000000000001',
        'aaaaaaaa-0000-0000-0000-00000000000f'
    ),
    tests.refusal($$ select api.delete_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000f') $$)::text,
    'the refusal of another tenant''s card is word for word that of a card that never was'
);
select throws_ok(
    $$ select api.delete_card(tests.tenant('acme'), null) $$, 'PT404', null, 'no card is not found'
);
select throws_ok(
    $$ select api.delete_card(tests.tenant('globex'), 'aaaaaaaa-0000-0000-0000-000000000001') $$,
    'PT404',
    null,
    'the other tenant does not find this one''s card'
);
select throws_ok(
    $$ select api.delete_card(null, 'aaaaaaaa-0000-0000-0000-000000000001') $$,
    'PT404',
    null,
    'without a tenant no card is found'
);
select throws_ok(
    $$ select api.delete_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', '"2-3"') $$,
    'PT412',
    null,
    'an ETag of another version is refused'
);
reset role;
select bag_eq(
    $$ select cards.* from app.cards $$,
    $$ select card_before.* from card_before $$,
    'a refused call deletes nothing'
);

-- Deletion
set local role cardbase_service;
select results_eq(
    $$
    select status, headers, body, measures
    from api.delete_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', '"1-0"')
    $$,
    $$ values (204::smallint, null::jsonb, null::jsonb, null::jsonb) $$,
    'a deletion is answered with 204 and no body'
);
select throws_ok(
    $$ select api.delete_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001') $$,
    'PT404',
    null,
    'a second time there is no card to delete'
);
select throws_ok(
    $$ select api.get_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001') $$,
    'PT404',
    null,
    'a deleted card is not got'
);
select throws_ok(
    $$ select api.update_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', '{"n": 9}') $$,
    'PT404',
    null,
    'a deleted card is not updated'
);
select throws_ok(
    $$ select api.track_usage(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001') $$,
    'PT404',
    null,
    'a deleted card is not used'
);
select results_eq(
    $$
    select body
    from api.retrieve_cards(tests.tenant('acme'), array['aaaaaaaa-0000-0000-0000-000000000001'::uuid])
    $$,
    $$ values ('{"cards": [], "missing_ids": ["aaaaaaaa-0000-0000-0000-000000000001"]}'::jsonb) $$,
    'a deleted card is missing when it is retrieved'
);
reset role;

select ok(
    (
        select not card.is_active and card.deleted_at > card.created_at
        from app.cards as card
        where card.card_id = 'aaaaaaaa-0000-0000-0000-000000000001'
    ),
    'a deleted card is no longer active, and says since when'
);
select results_eq(
    $$
    select card_id, card_type, content, content_hash, source_session_id, created_by, created_at, updated_at, version
    from app.cards
    where card_id = 'aaaaaaaa-0000-0000-0000-000000000001'
    $$,
    $$
    select card_id, card_type, content, content_hash, source_session_id, created_by, created_at, updated_at, version
    from card_before
    where card_id = 'aaaaaaaa-0000-0000-0000-000000000001'
    $$,
    'the row stays, with all else it had'
);
select bag_eq(
    $$ select card_usage.* from app.card_usage $$,
    $$ select usage_before.* from usage_before $$,
    'the card''s events stay'
);
select bag_eq(
    $$ select card_usage_totals.* from app.card_usage_totals $$,
    $$ select total_before.* from total_before $$,
    'the card''s totals stay'
);
select bag_eq(
    $$ select cards.* from app.cards where cards.card_id <> 'aaaaaaaa-0000-0000-0000-000000000001' $$,
    $$ select card_before.* from card_before where card_before.card_id <> 'aaaaaaaa-0000-0000-0000-000000000001' $$,
    'every other card stays as it was, another tenant''s of the same content too'
);

-- The same content anew
set local role cardbase_service;
create temporary table anew as
select
    answer.status,
    answer.body
from api.create_card(tests.tenant('acme'), 'voice', '{"n": 1}') as answer;
select is((select status from anew), 201::smallint, 'a deleted card''s content may be created anew');
select isnt(
    (select body ->> 'card_id' from anew),
    'aaaaaaaa-0000-0000-0000-000000000001',
    'what is created anew has another id'
);
select is((select body ->> 'usage_count' from anew), '0', 'what is created anew begins with no usage');

-- The gateway
set local role cardbase_gateway;
select results_eq(
    $$ select status from api.delete_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000002', '*') $$,
    $$ values (204::smallint) $$,
    'the gateway may delete a card, and a star lets any version pass'
);

-- The policy beneath it
set local role cardbase_api;
select tests.set_tenant(tests.tenant('acme'));
select is_empty(
    $$ update app.cards set deleted_at = now() where card_id = 'bbbbbbbb-0000-0000-0000-000000000001' returning 1 $$,
    'the policy hides another tenant''s card from a deletion'
);
select throws_ok(
    $$ delete from app.cards where card_id = 'aaaaaaaa-0000-0000-0000-000000000001' $$,
    '42501',
    null,
    'no function can take a card''s row away'
);
reset role;

select * from finish();
rollback;
