begin;
\ir helpers/tests.psql
select plan(39);

create temporary table reply (call text primary key, status smallint, headers jsonb, body jsonb, measures jsonb);
grant insert, select on reply to cardbase_service;
create temporary view stored_card as
select
    cards.tenant_id,
    cards.content ->> 'n' as n
from app.cards
where cards.tenant_id in ('aaaaaaaa-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000000');
create temporary view stored_key as
select idempotency_store.*
from app.idempotency_store
where
    idempotency_store.tenant_id in ('aaaaaaaa-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000000');

-- Sends cards by name: a pair of them, the same pair in other JSON, or a single one.
create function tests.cards(name text)
returns jsonb
language sql
immutable
return case cards.name
    when 'pair'
        then '[{"card_type": "voice", "content": {"n": "1"}}, {"card_type": "insight", "content": {"n": "2"}}]'::jsonb
    when 'pair in other JSON'
        then '[{"content":{"n":"1"},"card_type":"voice"},{"content":{"n":"2"},"card_type":"insight"}]'::jsonb
    else jsonb_build_array(jsonb_build_object('card_type', 'voice', 'content', jsonb_build_object('n', cards.name)))
end;
create function tests.send(call text, tenant text, cards text, key text)
returns void
language sql
as $$
    insert into reply
    select
        send.call,
        answer.*
    from api.create_cards(
        tenant_id => tests.tenant(send.tenant),
        cards => tests.cards(send.cards),
        idempotency_key => send.key
    ) as answer;
$$;
grant execute on all functions in schema tests to public;

-- The same key and request again

set local role cardbase_service;
select tests.send(call.name, call.tenant, call.cards, call.key)
from (
    values
    ('first', 'acme', 'pair', 'key'),
    ('replay', 'acme', 'pair', 'key'),
    ('quoted', 'acme', 'pair', '"key"'),
    ('rewritten', 'acme', 'pair in other JSON', 'key'),
    ('without key', 'acme', 'pair', null)
) as call (name, tenant, cards, key);
reset role;

select is((select status from reply where call = 'first'), 201::smallint, 'the first request does the work');
select is(
    (select headers ->> 'X-Idempotency-Cache' from reply where call = 'first'),
    'MISS',
    'the first request is a MISS'
);
select is(
    (select row(status, body::text) from reply where call = 'replay'),
    (select row(status, body::text) from reply where call = 'first'),
    'the second request is answered as the first, byte for byte and with its status'
);
select is(
    (select headers ->> 'X-Idempotency-Cache' from reply where call = 'replay'),
    'HIT',
    'the second request is a HIT'
);
select is(
    (select measures from reply where call = 'replay'), null, 'the second request measures nothing: it did nothing'
);
select is(
    (select row(status, headers, body::text) from reply where call = 'quoted'),
    (select row(status, headers, body::text) from reply where call = 'replay'),
    'the key in double quotes is the same key'
);
select is(
    (select row(status, headers, body::text) from reply where call = 'rewritten'),
    (select row(status, headers, body::text) from reply where call = 'replay'),
    'the same request in other JSON is the same request'
);
select is(
    (select row(status, body -> 'created_count', headers) from reply where call = 'without key'),
    row(200::smallint, '0'::jsonb, null::jsonb),
    'the same request without a key is a request of its own'
);
select results_eq(
    'select n from stored_card order by n', array['1', '2'], 'all of these requests together stored the cards once'
);
select is((select count(*) from stored_key), 1::bigint, 'all of these requests together stored one key');
select is(
    (select idempotency_key from stored_key),
    'key',
    'the key is stored as the caller knows it, without quotes'
);

-- A replay answers what was, not what is

update app.cards
set content = '{"n": "changed"}'
where cards.tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000' and cards.card_type = 'voice';
update app.cards
set deleted_at = now()
where cards.tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000' and cards.card_type = 'insight';

set local role cardbase_service;
select tests.send(call.name, call.tenant, call.cards, call.key)
from (
    values
    ('late', 'acme', 'pair', 'key')
) as call (name, tenant, cards, key);
reset role;

select is(
    (select row(status, headers, body::text) from reply where call = 'late'),
    (select row(status, headers, body::text) from reply where call = 'replay'),
    'the answer stays the same when its cards were changed and deleted since'
);
select results_eq(
    'select n from stored_card order by n',
    array['2', 'changed'],
    'a replay does not bring changed or deleted cards back'
);

-- The same key with another request

set local role cardbase_service;
select throws_ok(
    $$
    select api.create_cards(
        tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
        cards => '[{"card_type": "voice", "content": {"n": "other"}}]',
        idempotency_key => 'key'
    )
    $$,
    'PT422',
    'the idempotency key was used for another request',
    'the key with another request is refused'
);
select is(
    tests.refusal(
        $$
        select api.create_cards(
            tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
            cards => '[{"card_type": "voice", "content": {"n": "other"}}]',
            idempotency_key => 'key'
        )
        $$
    ) ->> 'constraint',
    'idempotency_key_reused',
    'the refusal of a used key says so to programs'
);
select throws_ok(
    $$
    select api.create_cards(
        tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
        cards => '[{"card_type": "voice", "content": {"n": "other"}}]',
        idempotency_key => '"key"'
    )
    $$,
    'PT422',
    'the idempotency key was used for another request',
    'the key in double quotes with another request is refused'
);
select throws_ok(
    $$
    select api.create_cards(
        tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000', cards => '[{"card_type": "voice"}]', idempotency_key => 'key'
    )
    $$,
    'PT422',
    'the idempotency key was used for another request',
    'the key with a request that is wrong in itself is refused as used'
);
reset role;
select results_eq(
    'select n from stored_card order by n', array['2', 'changed'], 'a request with a used key stores nothing'
);
select is(
    (select row(stored_key.status, stored_key.body::text) from stored_key),
    (select row(reply.status, reply.body::text) from reply where reply.call = 'first'),
    'the answer that the key got first is still stored'
);

-- Two tenants

set local role cardbase_service;
select tests.send(call.name, call.tenant, call.cards, call.key)
from (
    values
    ('other tenant', 'globex', 'theirs', 'key'),
    ('other tenant, same request', 'globex', 'pair', 'second key'),
    ('owner again', 'acme', 'pair', 'key')
) as call (name, tenant, cards, key);
reset role;

select is(
    (select row(status, headers) from reply where call = 'other tenant'),
    row(201::smallint, '{"X-Idempotency-Cache": "MISS"}'::jsonb),
    'another tenant''s equal key does the work of its own request'
);
select is(
    (select body -> 'created_count' from reply where call = 'other tenant, same request'),
    '2'::jsonb,
    'another tenant''s equal request creates cards of its own'
);
select is_empty(
    $$
    select card -> 'card_id'
    from reply
    cross join jsonb_array_elements(body -> 'cards') as card
    where call = 'other tenant, same request'
    intersect
    select card -> 'card_id'
    from reply
    cross join jsonb_array_elements(body -> 'cards') as card
    where call = 'first'
    $$,
    'two tenants'' equal requests share no card'
);
select is(
    (select row(status, headers, body::text) from reply where call = 'owner again'),
    (select row(status, headers, body::text) from reply where call = 'replay'),
    'the owner''s key still answers the owner''s request'
);
select set_eq(
    'select tenant_id::text, idempotency_key from stored_key',
    $$
    values
    ('aaaaaaaa-0000-0000-0000-000000000000', 'key'),
    ('bbbbbbbb-0000-0000-0000-000000000000', 'key'),
    ('bbbbbbbb-0000-0000-0000-000000000000', 'second key')
    $$,
    'each tenant has its own keys'
);

-- A request that failed

set local role cardbase_service;
select throws_ok(
    $$
    select api.create_cards(
        tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
        cards => '[{"card_type": "voice", "content": {"n": "3"}}, {"card_type": "voice", "content": 3}]',
        idempotency_key => 'failed'
    )
    $$,
    'PT422',
    'the cards are not valid',
    'a wrong request under a new key is refused for what is wrong'
);
reset role;
select is_empty(
    $$ select 1 from stored_key where idempotency_key = 'failed' $$,
    'a request that failed is not remembered'
);
select is_empty($$ select 1 from stored_card where n = '3' $$, 'a request that failed stored none of its cards');

set local role cardbase_service;
select tests.send(call.name, call.tenant, call.cards, call.key)
from (
    values
    ('mended', 'acme', '3', 'failed')
) as call (name, tenant, cards, key);
reset role;
select is(
    (select row(status, headers) from reply where call = 'mended'),
    row(201::smallint, '{"X-Idempotency-Cache": "MISS"}'::jsonb),
    'the key of a request that failed is free for the mended one'
);

-- An answer of another status

set local role cardbase_service;
select tests.send(call.name, call.tenant, call.cards, call.key)
from (
    values
    ('there', 'acme', '3', 'nothing new'),
    ('there, replay', 'acme', '3', 'nothing new')
) as call (name, tenant, cards, key);
reset role;
select is(
    (select row(status, headers) from reply where call = 'there'),
    row(200::smallint, '{"X-Idempotency-Cache": "MISS"}'::jsonb),
    'a request that creates nothing is remembered like any other'
);
select is(
    (select row(status, headers ->> 'X-Idempotency-Cache', body::text) from reply where call = 'there, replay'),
    (select row(status, 'HIT'::text, body::text) from reply where call = 'there'),
    'a 200 is replayed as a 200'
);

-- A key that expired

update app.idempotency_store
set expires_at = clock_timestamp()
where
    idempotency_store.tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000'
    and idempotency_store.idempotency_key in ('key', 'nothing new');

set local role cardbase_service;
insert into reply
select
    'expired, other request',
    answer.*
from api.create_cards(
    tenant_id => tests.tenant('acme'),
    cards => tests.cards('4'),
    idempotency_key => 'key',
    idempotency_ttl_hours => 48
) as answer;
select tests.send(call.name, call.tenant, call.cards, call.key)
from (
    values
    ('expired, same request', 'acme', '3', 'nothing new'),
    ('after expiry, replay', 'acme', '4', 'key')
) as call (name, tenant, cards, key);
reset role;

select is(
    (select row(status, headers) from reply where call = 'expired, other request'),
    row(201::smallint, '{"X-Idempotency-Cache": "MISS"}'::jsonb),
    'an expired key takes another request'
);
select is(
    (select headers from reply where call = 'expired, same request'),
    '{"X-Idempotency-Cache": "MISS"}'::jsonb,
    'under an expired key the same request is done again'
);
select is(
    (select row(status, headers ->> 'X-Idempotency-Cache', body::text) from reply where call = 'after expiry, replay'),
    (select row(status, 'HIT'::text, body::text) from reply where call = 'expired, other request'),
    'the new request of an expired key is replayed'
);
select is(
    (
        select expires_at - created_at
        from stored_key
        where tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000' and idempotency_key = 'key'
    ),
    interval '48 hours',
    'an expired key starts anew, for as long as the new request says'
);
select is(
    (
        select expires_at - created_at
        from stored_key
        where tenant_id = 'bbbbbbbb-0000-0000-0000-000000000000' and idempotency_key = 'key'
    ),
    interval '24 hours',
    'another tenant''s equal key keeps its time'
);
set local role cardbase_service;
select throws_ok(
    $$
    select api.create_cards(
        tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
        cards => '[{"card_type": "voice", "content": {"n": "1"}}, {"card_type": "insight", "content": {"n": "2"}}]',
        idempotency_key => 'key'
    )
    $$,
    'PT422',
    'the idempotency key was used for another request',
    'the old request of an expired key is now another request'
);
reset role;
select is_empty(
    $$ select 1 from stored_card where tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000' and n = '1' $$,
    'the old request of an expired key stores nothing'
);

-- All functions

select is_empty(
    $$
    select pg_proc.oid::regprocedure
    from pg_proc
    where
        pg_proc.pronamespace = 'api'::regnamespace
        and 'idempotency_key' = any(pg_proc.proargnames)
        and obj_description(pg_proc.oid, 'pg_proc') !~ '(^|\n)@internal *(\n|$)'
        and not (
            array_position(pg_proc.proargnames, 'idempotency_key') > pg_proc.pronargs - pg_proc.pronargdefaults
            and pg_proc.provolatile = 'v'
        )
    $$,
    'every product function that takes a key writes, and can do without the key'
);
select is_empty(
    $$
    select pg_proc.oid::regprocedure
    from pg_proc
    where
        pg_proc.pronamespace = 'api'::regnamespace
        and pg_proc.proname like 'create\_card%'
        and 'idempotency_key' <> all(pg_proc.proargnames)
    $$,
    'every function that creates cards takes a key'
);

select * from finish();
rollback;
