begin;
\ir helpers/tests.psql
select plan(38);

insert into app.cards (tenant_id, card_id, card_type, content, created_by, deleted_at, version)
values
(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', 'voice', '{"n": "there"}', 'ada', null, 4),
(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000002', 'voice', '{"n": "deleted"}', 'ada', '2026-01-02', 1),
(tests.tenant('globex'), 'bbbbbbbb-0000-0000-0000-000000000001', 'voice', '{"n": "theirs"}', 'bob', null, 1);
insert into app.card_usage_totals (tenant_id, card_id, usage_count, last_used_at)
values (tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-000000000001', 3, '2026-01-03');

create temporary table reply (call text primary key, status smallint, headers jsonb, body jsonb, measures jsonb);
grant insert, select on reply to cardbase_service;

-- A service of the tenant
set local role cardbase_service;
insert into reply
select
    'new',
    answer.*
from api.create_card(
    tenant_id => tests.tenant('acme'),
    card_type => 'voice',
    content => '{"n": "new"}',
    source_session_id => 'aaaaaaaa-0000-0000-0000-000000000009',
    created_by => 'eve'
) as answer;
insert into reply
select
    'again',
    answer.*
from api.create_card(tests.tenant('acme'), 'voice', '{"n":"new"}', null, 'too late') as answer;
insert into reply
select
    'there',
    answer.*
from api.create_card(tests.tenant('acme'), 'voice', '{"n": "there"}') as answer;
insert into reply
select
    'other type',
    answer.*
from api.create_card(tests.tenant('acme'), 'company', '{"n": "there"}') as answer;
insert into reply
select
    'deleted',
    answer.*
from api.create_card(tests.tenant('acme'), 'voice', '{"n": "deleted"}') as answer;
insert into reply
select
    'theirs',
    answer.*
from api.create_card(tests.tenant('acme'), 'voice', '{"n": "theirs"}') as answer;
insert into reply
select
    'keyed',
    answer.*
from api.create_card(tests.tenant('acme'), 'voice', '{"n": "keyed"}', idempotency_key => 'key-1') as answer;
insert into reply
select
    'replayed',
    answer.*
from api.create_card(tests.tenant('acme'), 'voice', '{"n": "keyed"}', idempotency_key => '"key-1"') as answer;
insert into reply
select
    'their key',
    answer.*
from api.create_card(tests.tenant('globex'), 'voice', '{"n": "other"}', idempotency_key => 'key-1') as answer;
reset role;

select is((
    select status from reply
    where call = 'new'
), 201::smallint, 'a new card is answered with 201');
select is(
    (
        select headers from reply
        where call = 'new'
    ), '{"ETag": "\"1-0\""}'::jsonb, 'a new card''s ETag is its first'
);
select is(
    (
        select body - array['card_id', 'created_at', 'updated_at'] from reply
        where call = 'new'
    ),
    '{
        "card_type": "voice",
        "content": {"n": "new"},
        "source_session_id": "aaaaaaaa-0000-0000-0000-000000000009",
        "created_by": "eve",
        "is_active": true,
        "deleted_at": null,
        "usage_count": 0,
        "last_used_at": null,
        "created": true
    }'::jsonb || jsonb_build_object('content_hash', encode(app.content_hash('{"n": "new"}'), 'hex')),
    'a new card is answered with all of its fields, and created'
);
select is(
    (
        select measures from reply
        where call = 'new'
    ),
    '[["cards_created_total", {"card_type": "voice", "result": "created"}, 1]]'::jsonb,
    'a new card is measured as created'
);
select results_eq(
    $$
    select app.card_document(card, null) || '{"created": true}'
    from app.cards as card
    where card.tenant_id = tests.tenant('acme') and card.content = '{"n": "new"}'
    $$,
    $$ select body from reply where call = 'new' $$,
    'the card is stored as it was answered'
);

select is((
    select status from reply
    where call = 'again'
), 200::smallint, 'a card that was there is answered with 200');
select is(
    (
        select body from reply
        where call = 'again'
    ),
    (
        select body || '{"created": false}' from reply
        where call = 'new'
    ),
    'a card that was there stays as it was, and was not created'
);
select is(
    (
        select measures from reply
        where call = 'again'
    ),
    '[["cards_created_total", {"card_type": "voice", "result": "existing"}, 1]]'::jsonb,
    'a card that was there is measured as existing'
);
select is(
    (
        select headers from reply
        where call = 'there'
    ),
    '{"ETag": "\"4-3\""}'::jsonb,
    'the ETag of a card that was there has its version and usage'
);
select is(
    (
        select body -> 'card_id' from reply
        where call = 'there'
    ),
    '"aaaaaaaa-0000-0000-0000-000000000001"'::jsonb,
    'a card that was there keeps its id'
);
select is(
    (
        select body ->> 'usage_count' from reply
        where call = 'there'
    ), '3', 'a card that was there keeps its usage'
);
select is(
    (
        select status from reply
        where call = 'other type'
    ), 201::smallint, 'the same content of another type is another card'
);
select is(
    (
        select body ->> 'created_by' from reply
        where call = 'other type'
    ), 'api', 'a card that nobody is named for is made by api'
);
select is((
    select status from reply
    where call = 'deleted'
), 201::smallint, 'a deleted card''s content is created anew');
select isnt(
    (
        select body ->> 'card_id' from reply
        where call = 'deleted'
    ),
    'aaaaaaaa-0000-0000-0000-000000000002',
    'what is created anew has a new id'
);
select is((
    select status from reply
    where call = 'theirs'
), 201::smallint, 'another tenant''s content is new to this one');
select is(
    (
        select count(*) from app.cards
        where cards.content = '{"n": "theirs"}'
    ),
    2::bigint,
    'equal content of two tenants is two cards'
);

-- Idempotency
select is(
    (
        select headers from reply
        where call = 'keyed'
    ),
    '{"ETag": "\"1-0\"", "X-Idempotency-Cache": "MISS"}'::jsonb,
    'the first request with a key is a miss'
);
select is((
    select status from reply
    where call = 'replayed'
), 201::smallint, 'a replay has the status of the first answer');
select is(
    (
        select headers from reply
        where call = 'replayed'
    ),
    '{"ETag": "\"1-0\"", "X-Idempotency-Cache": "HIT"}'::jsonb,
    'a replay is a hit, with the first answer''s ETag'
);
select is(
    (
        select body::text from reply
        where call = 'replayed'
    ),
    (
        select body::text from reply
        where call = 'keyed'
    ),
    'a replay is the first answer, byte for byte'
);
select is((
    select measures from reply
    where call = 'replayed'
), null, 'a replay does nothing, and measures nothing');
select is(
    (
        select status from reply
        where call = 'their key'
    ), 201::smallint, 'two tenants'' equal keys never meet'
);

-- Refusals
create temporary table card_before as
select card.*
from app.cards as card;

set local role cardbase_service;
select throws_ok(
    $$ select api.create_card(tests.tenant('acme'), 'voice', '{"n": "another"}', idempotency_key => 'key-1') $$,
    'PT422',
    null,
    'a key used for another card is refused'
);
select throws_ok(
    $$
    select api.create_cards(
        tests.tenant('acme'), '[{"card_type": "voice", "content": {"n": "keyed"}}]', idempotency_key => 'key-1'
    )
    $$,
    'PT422',
    null,
    'a key used for one card is refused for a batch'
);
select throws_ok(
    $$
    select api.create_card(tests.tenant('acme'), 'person', '{"n": "x"}')
    $$, 'PT422', null, 'an unknown type is refused'
);
select throws_ok(
    $$
    select api.create_card(tests.tenant('acme'), null, '{"n": "x"}')
    $$, 'PT422', null, 'a card without a type is refused'
);
select throws_ok(
    $$
    select api.create_card(tests.tenant('acme'), 'voice', '["x"]')
    $$, 'PT422', null, 'content that is no object is refused'
);
select throws_ok(
    $$
    select api.create_card(tests.tenant('acme'), 'voice', null)
    $$, 'PT422', null, 'a card without content is refused'
);
select throws_ok(
    $$ select api.create_card(tests.tenant('acme'), 'voice', '{"n": "x"}', created_by => repeat('x', 256)) $$,
    'PT422',
    null,
    'a maker''s name of 256 characters is refused'
);
select results_eq(
    $$
    select
        tests.refusal($q$ select api.create_card(tests.tenant('acme'), 'person', '{}') $q$) ->> 'column',
        tests.refusal($q$ select api.create_card(tests.tenant('acme'), 'voice', '[]') $q$) ->> 'column',
        tests.refusal(
            $q$ select api.create_card(tests.tenant('acme'), 'voice', '{}', created_by => repeat('x', 256)) $q$
        ) ->> 'column'
    $$,
    $$ values ('card_type', 'content', 'created_by') $$,
    'a refusal names the field'
);
select throws_ok(
    $$
    select api.create_card(null, 'voice', '{"n": "x"}')
    $$, '42501', null, 'without a tenant the policy lets no card in'
);
select throws_ok(
    $$ select api.create_card(tests.tenant('acme'), 'voice', '[]', idempotency_key => 'key-2') $$,
    'PT422',
    null,
    'a card that is not valid is refused with a key, too'
);
reset role;
select bag_eq(
    $$ select cards.* from app.cards $$,
    $$ select card_before.* from card_before $$,
    'a refused call stores nothing and changes nothing'
);
select is_empty(
    $$ select idempotency_key from app.idempotency_store where idempotency_key = 'key-2' $$,
    'a refused call''s key is not remembered'
);

-- The gateway
set local role cardbase_gateway;
select results_eq(
    $$
    select status
    from api.create_card(tests.tenant('acme'), 'voice', '{"n": "x"}', created_by => repeat('é', 255), idempotency_key => 'key-2')
    $$,
    $$ values (201::smallint) $$,
    'the gateway may create a card, with a refused call''s key and a name of the greatest length'
);
select results_eq(
    $$ select status from api.create_card(tests.tenant('globex'), 'voice', '{}') $$,
    $$ values (201::smallint) $$,
    'empty content is content'
);
reset role;
select is(
    (
        select count(*)
        from app.cards
        where cards.tenant_id = tests.tenant('acme') and cards.content = '{"n": "keyed"}'
    ),
    1::bigint,
    'a key''s request was done once'
);

select * from finish();
rollback;
