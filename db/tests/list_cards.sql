begin;
\ir helpers/tests.psql
select plan(56);

-- The ids are older than any made now, and end in the order of creation.
insert into app.cards (tenant_id, card_id, card_type, content, source_session_id, created_by, deleted_at)
values
(
    tests.tenant('acme'), '01000000-0000-7000-8000-000000000001', 'company', '{"n": 1, "tags": ["a", "b"]}',
    null, 'ada', null
),
(
    tests.tenant('acme'), '01000000-0000-7000-8000-000000000002', 'voice', '{"n": 2, "tags": ["b"]}',
    '01000000-0000-7000-8000-000000000009', 'ada', null
),
(
    tests.tenant('acme'), '01000000-0000-7000-8000-000000000003', 'voice', '{"n": 3, "deep": {"x": 1, "y": 2}}',
    '01000000-0000-7000-8000-000000000009', 'eve', null
),
(
    tests.tenant('acme'), '01000000-0000-7000-8000-000000000004', 'voice', '{"n": 4, "tags": ["b"]}',
    '01000000-0000-7000-8000-000000000009', 'ada', '2026-01-02'
),
(
    tests.tenant('acme'), '01000000-0000-7000-8000-000000000005', 'company', '{"n": 5, "tags": ["a"]}',
    '01000000-0000-7000-8000-000000000009', 'eve', null
),
(tests.tenant('acme'), '01000000-0000-7000-8000-000000000006', 'voice', '{"n": 6}', null, 'ada', null),
(
    tests.tenant('globex'), '02000000-0000-7000-8000-000000000001', 'voice', '{"n": 2, "tags": ["b"]}',
    '01000000-0000-7000-8000-000000000009', 'ada', null
);
insert into app.card_usage_totals (tenant_id, card_id, usage_count, last_used_at)
values (tests.tenant('acme'), '01000000-0000-7000-8000-000000000003', 3, '2026-01-03');

-- The cards of an answer, by the number in their content, in its order.
create function tests.numbers(body jsonb)
returns integer[]
language sql
immutable
return array(
    select (entry.card -> 'content' ->> 'n')::integer
    from jsonb_array_elements(numbers.body -> 'cards') with ordinality as entry (card, position)
    order by entry.position
);
-- A page of acme's list, and the cursor after a first page of one card.
create function tests.page(
    size integer, cursor text default null, contains jsonb default null, include_deleted boolean default false
)
returns jsonb
language sql
stable
as $$
    select listed.body
    from api.list_cards(
        tests.tenant('acme'),
        contains => page.contains,
        include_deleted => page.include_deleted,
        "limit" => page.size,
        cursor => page.cursor
    ) as listed
$$;
create function tests.second_page(contains jsonb default null)
returns text
language sql
stable
return tests.page(1, contains => second_page.contains) ->> 'next_cursor';
grant execute on all functions in schema tests to public;
create temporary table document as
select
    card.card_id,
    app.card_document(card, total) as document
from app.cards as card
left join app.card_usage_totals as total
    on card.tenant_id = total.tenant_id and card.card_id = total.card_id
where card.tenant_id in (tests.tenant('acme'), tests.tenant('globex'));
grant select on document to cardbase_service;

-- A service of the tenant: filters
set local role cardbase_service;
select results_eq(
    $$ select status, headers, measures from api.list_cards(tests.tenant('acme')) $$,
    $$ values (200::smallint, null::jsonb, null::jsonb) $$,
    'a list is answered with 200'
);
select results_eq(
    $$ select body from api.list_cards(tests.tenant('acme')) $$,
    $$
    select jsonb_build_object('cards', jsonb_agg(document order by card_id desc), 'next_cursor', null)
    from document
    where (document ->> 'is_active')::boolean and card_id < '02000000-0000-7000-8000-000000000000'
    $$,
    'a list holds the tenant''s active cards with their usage, newest first, and no total'
);
select is(
    (select tests.numbers(body) from api.list_cards(tests.tenant('acme'), 'voice')),
    array[6, 3, 2],
    'card_type narrows the list'
);
select is(
    (
        select tests.numbers(body)
        from api.list_cards(tests.tenant('acme'), source_session_id => '01000000-0000-7000-8000-000000000009')
    ),
    array[5, 3, 2],
    'source_session_id narrows the list'
);
select is(
    (select tests.numbers(body) from api.list_cards(tests.tenant('acme'), created_by => 'ada')),
    array[6, 2, 1],
    'created_by narrows the list'
);
select is(
    (select tests.numbers(body) from api.list_cards(tests.tenant('acme'), contains => '{"tags": ["b"]}')),
    array[2, 1],
    'contains finds a value in an array'
);
select is(
    (select tests.numbers(body) from api.list_cards(tests.tenant('acme'), contains => '{"deep": {"x": 1}}')),
    array[3],
    'contains finds a part of an object within'
);
select is(
    (select tests.numbers(body) from api.list_cards(tests.tenant('acme'), contains => '{"tags": ["a"], "n": 5}')),
    array[5],
    'contains asks for all that it names'
);
select is(
    (select tests.numbers(body) from api.list_cards(tests.tenant('acme'), contains => '{"tags": "b"}')),
    array[]::integer[],
    'contains tells a value from an array of it'
);
select is(
    (select tests.numbers(body) from api.list_cards(tests.tenant('acme'), contains => '{}')),
    array[6, 5, 3, 2, 1],
    'the empty object is in every content'
);
select is(
    (
        select tests.numbers(body)
        from api.list_cards(
            tenant_id => tests.tenant('acme'),
            card_type => 'voice',
            source_session_id => '01000000-0000-7000-8000-000000000009',
            created_by => 'ada',
            contains => '{"tags": ["b"]}',
            include_deleted => true
        )
    ),
    array[4, 2],
    'all filters hold together'
);
select is(
    (
        select tests.numbers(body)
        from api.list_cards(
            tests.tenant('acme'), 'company', '01000000-0000-7000-8000-000000000009', 'ada', '{"tags": ["b"]}'
        )
    ),
    array[]::integer[],
    'filters that nothing passes leave an empty list'
);
select is(
    (select tests.numbers(body) from api.list_cards(tests.tenant('acme'), created_by => 'Ada')),
    array[]::integer[],
    'created_by is compared letter by letter'
);
select is(
    (select tests.numbers(body) from api.list_cards(tests.tenant('acme'), created_by => '')),
    array[]::integer[],
    'an empty created_by is a filter, too'
);
select is(
    (select tests.numbers(body) from api.list_cards(tests.tenant('acme'), include_deleted => true)),
    array[6, 5, 4, 3, 2, 1],
    'include_deleted shows deleted cards among the others'
);
select is(
    (select body -> 'cards' -> 2 from api.list_cards(tests.tenant('acme'), include_deleted => true)),
    (
        select document from document
        where card_id = '01000000-0000-7000-8000-000000000004'
    ),
    'a deleted card in a list says that it is'
);
select is(
    (
        select body
        from api.list_cards(tests.tenant('acme'), null, null, null, null, null, null, null, null)
    ),
    (select body from api.list_cards(tests.tenant('acme'))),
    'nulls mean the defaults'
);

-- Totals
select is(
    (select body -> 'total' from api.list_cards(tests.tenant('acme'), null, null, null, null, false, 1, null, 'exact')),
    '5'::jsonb,
    'the total is of the whole list, not of the page'
);
select is(
    (select body -> 'total' from api.list_cards(tests.tenant('acme'), include_deleted => true, count => 'exact')),
    '6'::jsonb,
    'the total counts deleted cards when they are listed'
);
select is(
    (
        select body -> 'total'
        from api.list_cards(
            tests.tenant('acme'),
            'voice',
            '01000000-0000-7000-8000-000000000009',
            'ada',
            '{"tags": ["b"]}',
            count => 'exact'
        )
    ),
    '1'::jsonb,
    'the total is of the list with all of its filters'
);
select is(
    (select body -> 'total' from api.list_cards(tests.tenant('acme'), 'insight', count => 'exact')),
    '0'::jsonb,
    'the total of an empty list is 0'
);
select is(
    (
        select body -> 'total'
        from api.list_cards(tests.tenant('acme'), cursor => tests.second_page(), count => 'exact')
    ),
    '5'::jsonb,
    'the total is the same on each page'
);

-- Pages
select is(
    tests.numbers(tests.page(2)),
    array[6, 5],
    'a page holds as many cards as asked for'
);
select matches(
    tests.page(4) ->> 'next_cursor',
    '^[A-Za-z0-9_-]{32}$',
    'a page before the last one has a cursor'
);
select is(
    tests.page(5) -> 'next_cursor',
    'null'::jsonb,
    'a page that ends with the list has none'
);
with recursive page as (
    select tests.page(2) as body
    union all
    select tests.page(2, page.body ->> 'next_cursor')
    from page
    where page.body ->> 'next_cursor' is not null
)

select is(
    (select array_agg(tests.numbers(page.body)::text) from page),
    array['{6,5}', '{3,2}', '{1}'],
    'a walk by cursors meets each card once, in order'
);
with recursive page as (
    select tests.page(1, null, '{"tags": ["b"]}', true) as body
    union all
    select tests.page(1, page.body ->> 'next_cursor', '{"tags": ["b"]}', true)
    from page
    where page.body ->> 'next_cursor' is not null
)

select is(
    (select array_agg(tests.numbers(page.body)::text) from page),
    array['{4}', '{2}', '{1}'],
    'a walk through what contains finds meets each card once, in order'
);
select is(
    tests.numbers(tests.page(3, tests.second_page())),
    array[5, 3, 2],
    'the limit may change between pages'
);
select is(
    (
        select tests.numbers(body)
        from api.list_cards(
            tests.tenant('acme'), contains => '{}', cursor => tests.second_page()
        )
    ),
    array[5, 3, 2, 1],
    'an empty contains is the same list as none'
);

-- What changes between two pages
create temporary table first_page as
select tests.page(2) as body;
select lives_ok(
    $$ select api.create_card(tests.tenant('acme'), 'voice', '{"n": 7}') $$, 'a card is added while a list is read'
);
select is(
    (select tests.numbers(body) from api.list_cards(tests.tenant('acme'), created_by => 'api')),
    array[7],
    'what was added last is first'
);
select is(
    (select tests.numbers(tests.page(50, first_page.body ->> 'next_cursor')) from first_page),
    array[3, 2, 1],
    'a card that was added does not move the next page'
);
select lives_ok(
    $$
    select api.delete_card(tests.tenant('acme'), card_id)
    from unnest(
        array['01000000-0000-7000-8000-000000000005'::uuid, '01000000-0000-7000-8000-000000000003']
    ) as card_id
    $$,
    'the last card of a page and the first of the next are deleted while a list is read'
);
select is(
    (select tests.numbers(tests.page(50, first_page.body ->> 'next_cursor')) from first_page),
    array[2, 1],
    'a cursor outlives the card it was made of'
);

-- Refusals
select throws_ok(
    $$ select api.list_cards(tests.tenant('acme'), 'person') $$, 'PT422', null, 'an unknown type is refused'
);
select throws_ok(
    $$ select api.list_cards(tests.tenant('acme'), "limit" => 0) $$, 'PT422', null, 'a page of no card is refused'
);
select throws_ok(
    $$
    select api.list_cards(tests.tenant('acme'), "limit" => 1001)
    $$, 'PT422', null, 'a page of 1,001 cards is refused'
);
select lives_ok(
    $$ select api.list_cards(tests.tenant('acme'), "limit" => 1000) $$, 'a page of 1,000 cards may be asked for'
);
select throws_ok(
    $$ select api.list_cards(tests.tenant('acme'), contains => '["b"]') $$, 'PT422', null, 'contains must be an object'
);
select throws_ok(
    $$
    select api.list_cards(tests.tenant('acme'), count => 'planned')
    $$, 'PT422', null, 'no other count than exact is known'
);
select throws_ok(
    $$ select api.list_cards(tests.tenant('acme'), cursor => 'garbage') $$, 'PT422', null, 'garbage is no cursor'
);
select throws_ok(
    $$ select api.list_cards(tests.tenant('acme'), cursor => '') $$, 'PT422', null, 'an empty cursor is refused'
);
select throws_ok(
    $$ select api.list_cards(tests.tenant('acme'), 'voice', cursor => tests.second_page()) $$,
    'PT422',
    null,
    'a cursor is refused with another type'
);
select throws_ok(
    $$
    select api.list_cards(
        tests.tenant('acme'), contains => '{"n": 6}', cursor => tests.second_page('{"tags": ["b"]}')
    )
    $$,
    'PT422',
    null,
    'a cursor is refused with another contains'
);
select throws_ok(
    $$
    select api.list_cards(
        tests.tenant('acme'), source_session_id => gen_random_uuid(), cursor => tests.second_page()
    )
    $$,
    'PT422',
    null,
    'a cursor is refused with another session'
);
select throws_ok(
    $$ select api.list_cards(tests.tenant('acme'), created_by => 'ada', cursor => tests.second_page()) $$,
    'PT422',
    null,
    'a cursor is refused with another maker'
);
select throws_ok(
    $$
    select api.list_cards(tests.tenant('acme'), include_deleted => true, cursor => tests.second_page())
    $$,
    'PT422',
    null,
    'a cursor is refused when deleted cards come in'
);
select results_eq(
    $$
    select
        tests.refusal($q$ select api.list_cards(tests.tenant('acme'), 'person') $q$) ->> 'column',
        tests.refusal($q$ select api.list_cards(tests.tenant('acme'), "limit" => 0) $q$) ->> 'column',
        tests.refusal($q$ select api.list_cards(tests.tenant('acme'), contains => '[]') $q$) ->> 'column',
        tests.refusal($q$ select api.list_cards(tests.tenant('acme'), count => 'x') $q$) ->> 'column',
        tests.refusal($q$ select api.list_cards(tests.tenant('acme'), cursor => 'x') $q$) ->> 'column'
    $$,
    $$ values ('card_type', 'limit', 'contains', 'count', 'cursor') $$,
    'a refusal names the parameter'
);

-- Another tenant, and none
select is(
    (select body -> 'cards' from api.list_cards(tests.tenant('globex'), count => 'exact')),
    (
        select jsonb_agg(document) from document
        where card_id = '02000000-0000-7000-8000-000000000001'
    ),
    'the other tenant lists its own cards'
);
select results_eq(
    $$
    select tests.numbers(body), body -> 'total'
    from api.list_cards(tests.tenant('globex'), contains => '{"n": 3}', include_deleted => true, count => 'exact')
    $$,
    $$ values (array[]::integer[], '0'::jsonb) $$,
    'contains and count do not reach into another tenant'
);
select throws_ok(
    $$
    select api.list_cards(
        tests.tenant('globex'), cursor => (select first_page.body ->> 'next_cursor' from first_page)
    )
    $$,
    'PT422',
    null,
    'another tenant''s cursor is refused'
);
select results_eq(
    $$ select body from api.list_cards(null, count => 'exact') $$,
    $$ values ('{"cards": [], "next_cursor": null, "total": 0}'::jsonb) $$,
    'without a tenant there is nothing to list'
);

-- The gateway
set local role cardbase_gateway;
select results_eq(
    $$ select tests.numbers(body) from api.list_cards(tests.tenant('globex')) $$,
    $$ values (array[2]) $$,
    'the gateway may list cards'
);

-- The policy beneath it
set local role cardbase_api;
select tests.set_tenant(tests.tenant('globex'));
select results_eq(
    $$ select card_id from app.cards $$,
    $$ values ('02000000-0000-7000-8000-000000000001'::uuid) $$,
    'the policy shows a tenant its own cards only'
);
select tests.set_tenant(null);
select is_empty($$ select card_id from app.cards $$, 'without a tenant the policy shows no card');
reset role;

select volatility_is(
    'api',
    'list_cards',
    array['uuid', 'text', 'uuid', 'text', 'jsonb', 'boolean', 'integer', 'text', 'text'],
    'stable',
    'list_cards changes nothing'
);

select * from finish();
rollback;
