begin;
select plan(18);

insert into app.cards (tenant_id, card_id, card_type, content, deleted_at)
values
(
    'aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000001', 'company', '{"n": 1}', null
),
(
    'aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000002', 'voice', '{"n": 2}', null
),
(
    'aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000003', 'voice', '{"n": 3}', '2026-01-02'
),
(
    'bbbbbbbb-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000001', 'voice', '{"n": 4}', null
);
insert into app.card_usage_totals (tenant_id, card_id, usage_count, last_used_at)
values ('aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000002', 5, '2026-01-03');

create temporary table reply (call text primary key, status smallint, headers jsonb, body jsonb, measures jsonb);
grant insert, select on reply to cardbase_service;

set local role cardbase_service;
insert into reply
select
    'mixed',
    answer.*
from api.retrieve_cards(
    tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
    card_ids => array[
        'aaaaaaaa-0000-0000-0000-00000000000f',
        'aaaaaaaa-0000-0000-0000-000000000002',
        'aaaaaaaa-0000-0000-0000-000000000003',
        'aaaaaaaa-0000-0000-0000-000000000001',
        'bbbbbbbb-0000-0000-0000-000000000001',
        'aaaaaaaa-0000-0000-0000-000000000002',
        'aaaaaaaa-0000-0000-0000-00000000000f'
    ]::uuid[]
) as answer;
insert into reply
select
    'all there',
    answer.*
from api.retrieve_cards(
    'aaaaaaaa-0000-0000-0000-000000000000', array['aaaaaaaa-0000-0000-0000-000000000001']::uuid[]
) as answer;
insert into reply
select
    'all missing',
    answer.*
from api.retrieve_cards(
    'aaaaaaaa-0000-0000-0000-000000000000', array['bbbbbbbb-0000-0000-0000-000000000001']::uuid[]
) as answer;
insert into reply
select
    'no tenant',
    answer.*
from api.retrieve_cards(null, array['aaaaaaaa-0000-0000-0000-000000000001']::uuid[]) as answer;
reset role;

select is((select status from reply where call = 'mixed'), 200::smallint, 'cards that are missing are no error');
select is((select headers from reply where call = 'mixed'), null, 'there are no headers to send');
select is((select measures from reply where call = 'mixed'), null, 'reading is not measured by the function');
select set_eq(
    $$ select jsonb_object_keys(body) from reply where call = 'mixed' $$,
    array['cards', 'missing_ids'],
    'the body is the cards and the missing ids'
);
select results_eq(
    $$
    select card ->> 'card_id'
    from reply
    cross join jsonb_array_elements(body -> 'cards') with ordinality as entry (card, position)
    where call = 'mixed'
    order by position
    $$,
    array['aaaaaaaa-0000-0000-0000-000000000002', 'aaaaaaaa-0000-0000-0000-000000000001'],
    'the cards found are answered in the order asked, each once'
);
select is(
    (select body -> 'missing_ids' from reply where call = 'mixed'),
    '[
        "aaaaaaaa-0000-0000-0000-00000000000f",
        "aaaaaaaa-0000-0000-0000-000000000003",
        "bbbbbbbb-0000-0000-0000-000000000001"
    ]'::jsonb,
    'unknown, deleted and other tenants'' cards are missing alike, in the order asked, each once'
);
select is(
    (select body -> 'cards' -> 1 from reply where call = 'mixed'),
    (
        select app.card_document(card, null)
        from app.cards as card
        where
            card.tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000'
            and card.card_id = 'aaaaaaaa-0000-0000-0000-000000000001'
    ),
    'a card is answered with all its fields'
);
select is(
    (select body -> 'cards' -> 0 -> 'usage_count' from reply where call = 'mixed'),
    '5'::jsonb,
    'a card is answered with how often it was used'
);
select is(
    (select (body -> 'cards' -> 0 ->> 'last_used_at')::timestamptz from reply where call = 'mixed'),
    '2026-01-03'::timestamptz,
    'a card is answered with when it was last used'
);
select is(
    (select body -> 'missing_ids' from reply where call = 'all there'),
    '[]'::jsonb,
    'when all are there the missing ids are an empty list'
);
select is(
    (select body from reply where call = 'all missing'),
    '{"cards": [], "missing_ids": ["bbbbbbbb-0000-0000-0000-000000000001"]}'::jsonb,
    'when none is there the cards are an empty list'
);
select is(
    (select body from reply where call = 'no tenant'),
    '{"cards": [], "missing_ids": ["aaaaaaaa-0000-0000-0000-000000000001"]}'::jsonb,
    'without a tenant every card is missing'
);

set local role cardbase_service;
select is(
    (
        select jsonb_array_length(answer.body -> 'missing_ids')
        from api.retrieve_cards(
            'aaaaaaaa-0000-0000-0000-000000000000',
            (select array_agg(gen_random_uuid()) from generate_series(1, 1000))
        ) as answer
    ),
    1000,
    '1,000 ids can be asked for at once'
);
select throws_ok(
    $$
    select api.retrieve_cards(
        'aaaaaaaa-0000-0000-0000-000000000000',
        array_fill('aaaaaaaa-0000-0000-0000-000000000001'::uuid, array[1001])
    )
    $$,
    'PT422',
    'card_ids is not valid',
    '1,001 ids are refused, were they all the same'
);
select throws_ok(
    $$ select api.retrieve_cards('aaaaaaaa-0000-0000-0000-000000000000', '{}') $$,
    'PT422',
    'card_ids is not valid',
    'no id is refused'
);
select throws_ok(
    $$ select api.retrieve_cards('aaaaaaaa-0000-0000-0000-000000000000', null) $$,
    'PT422',
    'card_ids is not valid',
    'no list is refused'
);
select throws_ok(
    $$
    select api.retrieve_cards(
        'aaaaaaaa-0000-0000-0000-000000000000', array['aaaaaaaa-0000-0000-0000-000000000001', null]::uuid []
    )
    $$,
    'PT422',
    'card_ids is not valid',
    'a null among the ids is refused'
);
reset role;
select volatility_is(
    'api',
    'retrieve_cards',
    array['uuid', 'uuid[]'],
    'stable',
    'reading is declared as such: the gateway may let it be asked for by GET'
);

select * from finish();
rollback;
