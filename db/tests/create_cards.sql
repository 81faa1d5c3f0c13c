begin;
\ir helpers/tests.psql
select plan(36);

create temporary table reply (call text primary key, status smallint, headers jsonb, body jsonb, measures jsonb);
grant insert, select on reply to cardbase_service;

set local role cardbase_service;
insert into reply
select
    'first',
    answer.*
from api.create_cards(
    tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
    cards => '[
        {"card_type": "company", "content": {"name": "Acme"}},
        {"card_type": "voice", "content": {"tone": "calm"}, "created_by": "eve"},
        {"card_type": "company", "content": {"name": "Acme"}}
    ]',
    source_session_id => 'aaaaaaaa-0000-0000-0000-000000000009',
    created_by => 'ada'
) as answer;
insert into reply
select
    'partly new',
    answer.*
from api.create_cards(
    tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
    cards => '[
        {"card_type": "insight", "content": {"n": 1}},
        {"card_type": "company", "content": {"name": "Acme"}}
    ]'
) as answer;
insert into reply
select
    'nothing new',
    answer.*
from api.create_cards(
    tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
    cards => '[{"card_type": "company", "content": {"name": "Acme"}}]'
) as answer;
reset role;

select is((select status from reply where call = 'first'), 201::smallint, 'new cards are answered with 201');
select is((select headers from reply where call = 'first'), null, 'without a key there are no headers to send');
select set_eq(
    $$ select jsonb_object_keys(body) from reply where call = 'first' $$,
    array['cards', 'created_count', 'existing_count'],
    'the body is the cards and the two counts'
);
select results_eq(
    $$
    select
        card ->> 'card_type',
        card -> 'content',
        card ->> 'created_by',
        card ->> 'source_session_id',
        (card -> 'created')::boolean
    from reply
    cross join jsonb_array_elements(body -> 'cards') with ordinality as entry (card, position)
    where call = 'first'
    order by position
    $$,
    $$
    values
    ('company', '{"name": "Acme"}'::jsonb, 'ada', 'aaaaaaaa-0000-0000-0000-000000000009', true),
    ('voice', '{"tone": "calm"}'::jsonb, 'eve', 'aaaaaaaa-0000-0000-0000-000000000009', true),
    ('company', '{"name": "Acme"}'::jsonb, 'ada', 'aaaaaaaa-0000-0000-0000-000000000009', false)
    $$,
    'the cards are answered in the order sent, with the defaults of the batch where they had none of their own'
);
select is(
    (select body - 'cards' from reply where call = 'first'),
    '{"created_count": 2, "existing_count": 1}'::jsonb,
    'the counts are those of entries: a duplicate inside the batch was there'
);
select set_eq(
    $$ select jsonb_array_elements(measures) from reply where call = 'first' $$,
    array[
        '["cards_created_total", {"result": "created", "card_type": "company"}, 1]'::jsonb,
        '["cards_created_total", {"result": "existing", "card_type": "company"}, 1]'::jsonb,
        '["cards_created_total", {"result": "created", "card_type": "voice"}, 1]'::jsonb
    ],
    'the measures say what was created and what was there'
);
select set_eq(
    $$ select jsonb_object_keys(body -> 'cards' -> 0) from reply where call = 'first' $$,
    array[
        'card_id',
        'card_type',
        'content',
        'content_hash',
        'source_session_id',
        'created_by',
        'created_at',
        'updated_at',
        'is_active',
        'deleted_at',
        'usage_count',
        'last_used_at',
        'created'
    ],
    'a card is answered with all its fields, and whether it was created'
);

select is((select status from reply where call = 'partly new'), 201::smallint, 'one new card makes it a 201');
select is(
    (select body - 'cards' from reply where call = 'partly new'),
    '{"created_count": 1, "existing_count": 1}'::jsonb,
    'new cards and those that were there are counted apart'
);
select is(
    (select body -> 'cards' -> 0 ->> 'created_by' from reply where call = 'partly new'),
    'api',
    'without an author a card is created by api'
);

select is(
    (select status from reply where call = 'nothing new'), 200::smallint, 'when all cards were there it is a 200'
);
select is(
    (select body #- '{cards,0,created}' from reply where call = 'nothing new'),
    (
        select
            jsonb_build_object(
                'cards', jsonb_build_array((body -> 'cards' -> 0) - 'created'), 'created_count', 0, 'existing_count', 1
            )
        from reply
        where call = 'first'
    ),
    'a card that was there is answered as it was made, unchanged'
);
select is(
    (select body -> 'cards' -> 0 -> 'created' from reply where call = 'nothing new'),
    'false'::jsonb,
    'a card that was there is not created'
);

set local role cardbase_service;
select throws_ok(
    $$
    select api.create_cards(
        'aaaaaaaa-0000-0000-0000-000000000000',
        '[{"card_type": "audience", "content": {}}, {"card_type": "audience", "content": []}]'
    )
    $$,
    'PT422',
    'the cards are not valid',
    'one wrong card refuses the whole batch'
);
select is(
    tests.refusal(
        $$
        select api.create_cards(
            'aaaaaaaa-0000-0000-0000-000000000000',
            '[{"card_type": "audience", "content": {}}, {"card_type": "audience", "content": []}]'
        )
        $$
    ) ->> 'column',
    'cards[1].content',
    'the refusal of a batch names the place'
);
select throws_ok(
    $$ select api.create_cards('aaaaaaaa-0000-0000-0000-000000000000', '[]') $$,
    'PT422',
    null,
    'an empty batch is refused'
);
select throws_ok(
    $$ select api.create_cards('aaaaaaaa-0000-0000-0000-000000000000', null) $$,
    'PT422',
    null,
    'no batch is refused'
);
select throws_ok(
    format(
        'select api.create_cards(%L, %L)',
        'aaaaaaaa-0000-0000-0000-000000000000',
        (select jsonb_agg('{"card_type": "audience", "content": {}}'::jsonb) from generate_series(1, 1001))
    ),
    'PT422',
    null,
    'a batch of 1,001 is refused'
);
select throws_ok(
    $$
    select api.create_cards(
        tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
        cards => '[{"card_type": "audience", "content": {}}]',
        created_by => repeat('x', 256)
    )
    $$,
    'PT422',
    'created_by is too long',
    'an author of 256 characters for the batch is refused'
);
select is(
    tests.refusal(
        $$
        select api.create_cards(
            tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
            cards => '[{"card_type": "audience", "content": {}}]',
            created_by => repeat('x', 256)
        )
        $$
    ) ->> 'column',
    'created_by',
    'the refusal of an author names the field'
);
select throws_ok(
    $$ select api.create_cards(null, '[{"card_type": "audience", "content": {}}]') $$,
    '42501',
    null,
    'without a tenant nothing can be created'
);
select throws_ok(
    $$
    select api.create_cards(
        tenant_id => null, cards => '[{"card_type": "audience", "content": {}}]', idempotency_key => 'key'
    )
    $$,
    '42501',
    null,
    'without a tenant nothing can be created under a key either'
);
reset role;
select is_empty(
    $$
    select cards.card_id
    from app.cards
    where
        cards.tenant_id is null
        or (cards.tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000' and cards.card_type = 'audience')
    $$,
    'of a refused batch nothing is stored'
);
select is(
    (select count(*) from app.cards where cards.tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000'),
    3::bigint,
    'the accepted batches stored three cards in all'
);

-- Under a key.
set local role cardbase_service;
insert into reply
select
    'with key',
    answer.*
from api.create_cards(
    tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
    cards => '[{"card_type": "insight", "content": {"n": 2}}]',
    idempotency_key => 'key',
    idempotency_ttl_hours => 2
) as answer;
insert into reply
select
    'replay',
    answer.*
from api.create_cards(
    tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
    cards => '[{"content": {"n": 2}, "card_type": "insight"}]',
    idempotency_key => 'key'
) as answer;
reset role;

select is(
    (select status from reply where call = 'with key'),
    201::smallint,
    'a key does not change the first answer''s status'
);
select is(
    (select headers from reply where call = 'with key'),
    '{"X-Idempotency-Cache": "MISS"}'::jsonb,
    'the first answer under a key is marked as a MISS'
);
select is(
    (select headers from reply where call = 'replay'),
    '{"X-Idempotency-Cache": "HIT"}'::jsonb,
    'the second answer under a key is marked as a HIT'
);
select is(
    (select row(status, body::text) from reply where call = 'replay'),
    (select row(status, body::text) from reply where call = 'with key'),
    'the second answer under a key is the first, byte for byte and with its status'
);
select is(
    (select measures from reply where call = 'replay'),
    null,
    'a replay creates nothing and counts nothing'
);
select is(
    (
        select idempotency_store.expires_at - idempotency_store.created_at
        from app.idempotency_store
        where
            idempotency_store.tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000'
            and idempotency_store.idempotency_key = 'key'
    ),
    interval '2 hours',
    'the key is remembered for as long as the caller says'
);

set local role cardbase_service;
select throws_ok(
    $$
    select api.create_cards(
        tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
        cards => '[{"card_type": "insight", "content": {"n": 3}}]',
        idempotency_key => 'key'
    )
    $$,
    'PT422',
    'the idempotency key was used for another request',
    'the key with other cards is refused'
);
select throws_ok(
    $$
    select api.create_cards(
        tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
        cards => '[{"card_type": "insight", "content": {"n": 2}}]',
        created_by => 'ada',
        idempotency_key => 'key'
    )
    $$,
    'PT422',
    'the idempotency key was used for another request',
    'the key with another author for the batch is refused'
);
select throws_ok(
    $$
    select api.create_cards(
        tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
        cards => '[{"card_type": "insight", "content": {"n": 2}}]',
        source_session_id => 'aaaaaaaa-0000-0000-0000-000000000009',
        idempotency_key => 'key'
    )
    $$,
    'PT422',
    'the idempotency key was used for another request',
    'the key with another session for the batch is refused'
);
select throws_ok(
    $$
    select api.create_cards(
        tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
        cards => '[{"card_type": "insight", "content": {"n": 3}}]',
        idempotency_key => ''
    )
    $$,
    'PT422',
    'the idempotency key is not valid',
    'an empty key is refused, not taken for none'
);
reset role;
select is(
    (
        select count(*)
        from app.cards
        where cards.tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000' and cards.card_type = 'insight'
    ),
    2::bigint,
    'neither the replay nor a refused key stored a card'
);
select is(
    (
        select count(*)
        from app.idempotency_store
        where idempotency_store.tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000'
    ),
    1::bigint,
    'only the request with a key that succeeded is remembered'
);

select * from finish();
rollback;
