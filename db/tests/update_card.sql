begin;
\ir helpers/tests.psql
select plan(56);

insert into app.cards (tenant_id, card_id, card_type, content, source_session_id, created_at, updated_at, deleted_at)
values
(
    tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', 'voice', '{"n": 1}',
    'aaaaaaaa-0000-0000-0000-000000000009', '2026-01-01', '2026-01-01', null
),
(
    tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000002', 'voice', '{"n": 2}',
    null, '2026-01-01', '2026-01-01', null
),
(
    tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000003', 'voice', '{"n": 3}',
    null, '2026-01-01', '2026-01-01', '2026-01-02'
),
(
    tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000004', 'company', '{"n": 4}',
    null, '2026-01-01', '2026-01-01', null
),
(
    tests.tenant('globex'), 'bbbbbbbb-0000-0000-0000-000000000001', 'voice', '{"n": 5}',
    null, '2026-01-01', '2026-01-01', null
);
insert into app.card_usage_totals (tenant_id, card_id, usage_count, last_used_at)
values (tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', 3, '2026-01-03');

create temporary table reply (call text primary key, status smallint, headers jsonb, body jsonb, measures jsonb);
grant insert, select on reply to cardbase_service;
create temporary view card_state as
select
    card.card_id,
    card.content,
    card.source_session_id,
    card.version,
    card.content_hash = app.content_hash(card.content) as is_hash_right,
    card.updated_at > '2026-01-01' as is_updated
from app.cards as card
where card.tenant_id = tests.tenant('acme');

-- A service of the tenant
set local role cardbase_service;
insert into reply
select
    'content',
    answer.*
from api.update_card(
    tenant_id => tests.tenant('acme'), card_id => 'aaaaaaaa-0000-0000-0000-000000000001', content => '{"n": 10}'
) as answer;
reset role;
select is((
    select status from reply
    where call = 'content'
), 200::smallint, 'an update is answered with 200');
select is(
    (
        select headers from reply
        where call = 'content'
    ),
    '{"ETag": "\"2-3\""}'::jsonb,
    'an update is answered with the ETag of the next version'
);
select is((
    select measures from reply
    where call = 'content'
), null, 'an update is not measured');
select results_eq(
    $$ select body from reply where call = 'content' $$,
    $$
    select app.card_document(card, total)
    from app.cards as card
    inner join app.card_usage_totals as total using (tenant_id, card_id)
    where card.card_id = 'aaaaaaaa-0000-0000-0000-000000000001'
    $$,
    'an update is answered with the card as it is stored now'
);
select results_eq(
    $$
    select content, is_hash_right, source_session_id, version, is_updated
    from card_state
    where card_id = 'aaaaaaaa-0000-0000-0000-000000000001'
    $$,
    $$ values ('{"n": 10}'::jsonb, true, 'aaaaaaaa-0000-0000-0000-000000000009'::uuid, 2, true) $$,
    'new content has its hash, and leaves the session as it was'
);
select is(
    (
        select created_at from app.cards
        where card_id = 'aaaaaaaa-0000-0000-0000-000000000001'
    ),
    '2026-01-01'::timestamptz,
    'an update leaves the time of creation'
);
select is(
    (
        select count(*)
        from app.cards as card
        where
            card.tenant_id in (tests.tenant('acme'), tests.tenant('globex'))
            and card.card_id <> 'aaaaaaaa-0000-0000-0000-000000000001'
            and card.version = 1
            and card.updated_at = '2026-01-01'
    ),
    4::bigint,
    'an update leaves every other card alone'
);

set local role cardbase_service;
insert into reply
select
    'session',
    answer.*
from api.update_card(
    tests.tenant('acme'),
    'aaaaaaaa-0000-0000-0000-000000000001',
    source_session_id => 'aaaaaaaa-0000-0000-0000-000000000008'
) as answer;
insert into reply
select
    'nothing',
    answer.*
from api.update_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001') as answer;
insert into reply
select
    'the same',
    answer.*
from api.update_card(
    tests.tenant('acme'),
    'aaaaaaaa-0000-0000-0000-000000000001',
    '{"n":10}',
    'aaaaaaaa-0000-0000-0000-000000000008'
) as answer;
insert into reply
select
    'same number, other text',
    answer.*
from api.update_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', '{"n": 10.0}') as answer;
insert into reply
select
    'both',
    answer.*
from api.update_card(
    tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000002', '{}', 'aaaaaaaa-0000-0000-0000-000000000007'
) as answer;
reset role;
select results_eq(
    $$ select headers ->> 'ETag', body -> 'content', body ->> 'source_session_id' from reply where call = 'session' $$,
    $$ values ('"3-3"', '{"n": 10}'::jsonb, 'aaaaaaaa-0000-0000-0000-000000000008') $$,
    'a new session is a new version, and leaves the content as it was'
);
select is(
    (
        select body from reply
        where call = 'nothing'
    ),
    (
        select body from reply
        where call = 'session'
    ),
    'an update of nothing answers the card as it is'
);
select is((
    select status from reply
    where call = 'nothing'
), 200::smallint, 'an update of nothing is no error');
select is(
    (
        select headers from reply
        where call = 'nothing'
    ),
    (
        select headers from reply
        where call = 'session'
    ),
    'an update of nothing is no new version'
);
select is(
    (
        select body from reply
        where call = 'the same'
    ),
    (
        select body from reply
        where call = 'session'
    ),
    'an update to what is there already leaves updated_at and all else'
);
select is(
    (
        select headers from reply
        where call = 'the same'
    ),
    (
        select headers from reply
        where call = 'session'
    ),
    'an update to what is there already is no new version'
);
select is(
    (
        select headers ->> 'ETag' from reply
        where call = 'same number, other text'
    ),
    '"4-3"',
    'content that differs in the text of a number differs'
);
select isnt(
    (
        select body -> 'content_hash' from reply
        where call = 'same number, other text'
    ),
    (
        select body -> 'content_hash' from reply
        where call = 'session'
    ),
    'the text of a number decides the hash'
);
select results_eq(
    $$
    select content, is_hash_right, source_session_id, version
    from card_state
    where card_id = 'aaaaaaaa-0000-0000-0000-000000000002'
    $$,
    $$ values ('{}'::jsonb, true, 'aaaaaaaa-0000-0000-0000-000000000007'::uuid, 2) $$,
    'content and session change together in one version'
);

-- If-Match: card 1 is at version 4 and was used 3 times; each that passes makes a new version.
set local role cardbase_service;
select results_eq(
    $$
    select headers ->> 'ETag'
    from api.update_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', '{"n": 11}', if_match => '"4-3"')
    $$,
    $$ values ('"5-3"') $$,
    'the card''s ETag lets an update pass'
);
select results_eq(
    $$
    select headers ->> 'ETag'
    from api.update_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', '{"n": 12}', if_match => '"5-0"')
    $$,
    $$ values ('"6-3"') $$,
    'usage does not count as a change under the caller'
);
select results_eq(
    $$
    select headers ->> 'ETag'
    from api.update_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', '{"n": 13}', if_match => '*')
    $$,
    $$ values ('"7-3"') $$,
    'a star lets an update of any version pass'
);
select results_eq(
    $$
    select headers ->> 'ETag'
    from api.update_card(
        tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', '{"n": 14}', if_match => 'W/"7-3", "a, b" ,"7-3"'
    )
    $$,
    $$ values ('"8-3"') $$,
    'one of several ETags is enough'
);
select results_eq(
    $$
    select headers ->> 'ETag'
    from api.update_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', if_match => '"8-3"')
    $$,
    $$ values ('"8-3"') $$,
    'a condition that holds lets an update of nothing pass'
);
reset role;
create temporary table card_before as
select card.*
from app.cards as card;

set local role cardbase_service;
select throws_ok(
    $$
    select api.update_card(
        tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', '{"n": 0}', if_match => '"7-3"'
    )
    $$,
    'PT412',
    null,
    'a stale ETag is refused'
);
select is(
    tests.refusal(
        $$
        select api.update_card(
            tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', '{"n": 0}', if_match => '"7-3"'
        )
        $$
    ),
    '{
        "code": "PT412",
        "message": "the card has changed",
        "detail": "Card aaaaaaaa-0000-0000-0000-000000000001 is at version 8, which no ETag of If-Match names.",
        "hint": "Get the card again, see what changed, and send its ETag.",
        "column": "If-Match",
        "constraint": "precondition_failed"
    }'::jsonb,
    'the refusal of a stale ETag names the version the card is at'
);
select throws_ok(
    $$
    select api.update_card(
        tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', '{"n": 0}', if_match => 'W/"8-3"'
    )
    $$,
    'PT412',
    null,
    'a weak ETag never matches'
);
select throws_ok(
    $$
    select api.update_card(
        tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', '{"n": 0}', if_match => '8-3'
    )
    $$,
    'PT412',
    null,
    'an ETag without its quotes does not match'
);
select throws_ok(
    $$
    select api.update_card(
        tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', '{"n": 0}', if_match => '"8"'
    )
    $$,
    'PT412',
    null,
    'a version alone is no ETag'
);
select throws_ok(
    $$
    select api.update_card(
        tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', '{"n": 0}', if_match => '"08-3"'
    )
    $$,
    'PT412',
    null,
    'a version with a zero before it is another text'
);
select throws_ok(
    $$
    select api.update_card(
        tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', '{"n": 0}', if_match => '"99999999999999999999-3"'
    )
    $$,
    'PT412',
    null,
    'a version that no card can have does not match'
);
select throws_ok(
    $$
    select api.update_card(
        tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', '{"n": 0}', if_match => '"a", 8-3", "b"'
    )
    $$,
    'PT412',
    null,
    'what stands between two ETags is none'
);
select throws_ok(
    $$
    select api.update_card(
        tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', '{"n": 0}', if_match => '"*"'
    )
    $$,
    'PT412',
    null,
    'a star in quotes is an ETag like others'
);
select throws_ok(
    $$
    select api.update_card(
        tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', '{"n": 0}', if_match => ''
    )
    $$,
    'PT412',
    null,
    'an empty condition holds for no card'
);
select throws_ok(
    $$ select api.update_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', if_match => '"7-3"') $$,
    'PT412',
    null,
    'a stale ETag is refused for an update of nothing, too'
);
select throws_ok(
    $$
    select api.update_card(
        tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000003', '{"n": 0}', if_match => '"1-0"'
    )
    $$,
    'PT404',
    null,
    'a deleted card is not found, whatever the condition'
);
select throws_ok(
    $$
    select api.update_card(
        tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000f', '{"n": 0}', if_match => '*'
    )
    $$,
    'PT404',
    null,
    'a star does not make a card that is not there'
);

-- Refusals
select throws_ok(
    $$ select api.update_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', '{}') $$,
    'PT409',
    null,
    'content that another active card of the type has is refused'
);
select is(
    tests.refusal($$ select api.update_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', '{}') $$),
    '{
        "code": "PT409",
        "message": "another card has this content",
        "detail": "The active card aaaaaaaa-0000-0000-0000-000000000002 of type voice has it.",
        "hint": "Use that card, or delete it before this one takes its content.",
        "column": "content",
        "constraint": "duplicate_card"
    }'::jsonb,
    'the refusal of a duplicate names the other card'
);
select throws_ok(
    $$ select api.update_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', '[]') $$,
    'PT422',
    null,
    'content that is no object is refused'
);
select is(
    tests.refusal(
        $$ select api.update_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', '[]') $$
    ) ->> 'column',
    'content',
    'the refusal of content names it'
);
select throws_ok(
    $$ select api.update_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', 'null') $$,
    'PT422',
    null,
    'the null of JSON is no content'
);
select throws_ok(
    $$ select api.update_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000f', '{"n": 0}') $$,
    'PT404',
    null,
    'a card that never was is not found'
);
select throws_ok(
    $$ select api.update_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000003', '{"n": 0}') $$,
    'PT404',
    null,
    'a deleted card is not found'
);
select throws_ok(
    $$ select api.update_card(tests.tenant('acme'), 'bbbbbbbb-0000-0000-0000-000000000001', '{"n": 0}') $$,
    'PT404',
    null,
    'another tenant''s card is not found'
);
select is(
    replace(
        tests.refusal(
            $$
            select api.update_card(
                tests.tenant('acme'), 'bbbbbbbb-0000-0000-0000-000000000001', '{"n": 0}', if_match => '"9-9"'
            )
            $$
        )::text,
        'bbbbbbbb-0000-0000-0000-000000000001',
        'aaaaaaaa-0000-0000-0000-00000000000f'
    ),
    tests.refusal(
        $$
        select api.update_card(
            tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000f', '{"n": 0}', if_match => '"9-9"'
        )
        $$
    )::text,
    'the refusal of another tenant''s card is word for word that of a card that never was'
);

-- Another tenant, and none
select throws_ok(
    $$ select api.update_card(tests.tenant('globex'), 'aaaaaaaa-0000-0000-0000-000000000001', '{"n": 0}') $$,
    'PT404',
    null,
    'the other tenant does not find this one''s card'
);
select throws_ok(
    $$ select api.update_card(null, 'aaaaaaaa-0000-0000-0000-000000000001', '{"n": 0}') $$,
    'PT404',
    null,
    'without a tenant no card is found'
);
reset role;
select bag_eq(
    $$ select cards.* from app.cards $$,
    $$ select card_before.* from card_before $$,
    'a refused call changes nothing'
);
set local role cardbase_service;
select results_eq(
    $$
    select status from api.update_card(
        tests.tenant('globex'), 'bbbbbbbb-0000-0000-0000-000000000001', '{"n": 14}'
    )
    $$,
    $$ values (200::smallint) $$,
    'another tenant''s card may have the same content'
);
select results_eq(
    $$ select status from api.update_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000004', '{"n": 14}') $$,
    $$ values (200::smallint) $$,
    'a card of another type may have the same content'
);
select results_eq(
    $$ select status from api.update_card(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', '{"n": 3}') $$,
    $$ values (200::smallint) $$,
    'a deleted card''s content is free'
);
select results_eq(
    $$ select body ->> 'created' from api.create_card(tests.tenant('acme'), 'voice', '{"n": 14}') $$,
    $$ values ('true') $$,
    'content that a card had before is free'
);
reset role;
select is(
    (
        select card.content from app.cards as card
        where card.card_id = 'aaaaaaaa-0000-0000-0000-000000000003'
    ),
    '{"n": 3}'::jsonb,
    'the deleted card keeps its content beside the one that took it over'
);

-- The gateway
set local role cardbase_gateway;
select results_eq(
    $$
    select status from api.update_card(
        tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000004', '{"n": "gateway"}'
    )
    $$,
    $$ values (200::smallint) $$,
    'the gateway may update a card'
);

-- The policy and the lock beneath it
set local role cardbase_api;
select tests.set_tenant(tests.tenant('acme'));
select throws_ok(
    $$ select app.lock_card(tests.tenant('globex'), 'bbbbbbbb-0000-0000-0000-000000000001', null) $$,
    'PT404',
    null,
    'the policy hides another tenant''s card from lock_card, whatever tenant it is told'
);
select is_empty(
    $$ update app.cards set content = '{}' where card_id = 'bbbbbbbb-0000-0000-0000-000000000001' returning 1 $$,
    'the policy hides another tenant''s card from an update'
);
select throws_ok(
    $$
    update app.cards
    set tenant_id = tests.tenant('globex')
    where card_id = 'aaaaaaaa-0000-0000-0000-000000000004'
    $$,
    '42501',
    null,
    'the policy lets no card be given to another tenant'
);
select tests.set_tenant(null);
select is_empty(
    $$ update app.cards set version = 0 returning 1 $$,
    'without a tenant the policy hides every card from an update'
);
reset role;

select * from finish();
rollback;
