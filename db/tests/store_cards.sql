begin;
\ir helpers/tests.psql
select plan(22);

insert into app.cards (tenant_id, card_id, card_type, content, created_by, deleted_at)
values
(
    'aaaaaaaa-0000-0000-0000-000000000000',
    'aaaaaaaa-0000-0000-0000-000000000001',
    'voice',
    '{"name": "there"}',
    'ada',
    null
),
(
    'aaaaaaaa-0000-0000-0000-000000000000',
    'aaaaaaaa-0000-0000-0000-000000000002',
    'voice',
    '{"name": "deleted"}',
    'ada',
    '2026-01-02'
),
(
    'bbbbbbbb-0000-0000-0000-000000000000',
    'bbbbbbbb-0000-0000-0000-000000000001',
    'voice',
    '{"name": "new"}',
    'bob',
    null
);
insert into app.card_usage_totals (tenant_id, card_id, usage_count, last_used_at)
values ('aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000001', 3, '2026-01-03');

create temporary table stored (call text primary key, documents jsonb, created_count integer, measures jsonb);
create temporary view stored_card as
select
    stored.call,
    entry.position,
    entry.document
from stored
cross join jsonb_array_elements(stored.documents) with ordinality as entry (document, position);
grant insert, select on stored to cardbase_api;

set local role cardbase_api;
select tests.set_tenant('aaaaaaaa-0000-0000-0000-000000000000');
insert into stored
select
    'mixed',
    answer.*
from app.store_cards(
    'aaaaaaaa-0000-0000-0000-000000000000',
    '[
        {"card_type": "voice", "content": {"name": "new"}, "created_by": "eve"},
        {"card_type": "voice", "content": {"name": "there"}},
        {"card_type": "company", "content": {"name": "new"}},
        {"card_type": "voice", "content": {"name":"new"}, "created_by": "too late"},
        {"card_type": "voice", "content": {"name": "deleted"}, "source_session_id": "aaaaaaaa-0000-0000-0000-000000000008"}
    ]',
    'aaaaaaaa-0000-0000-0000-000000000009',
    'batch'
) as answer;
insert into stored
select
    'again',
    answer.*
from app.store_cards(
    'aaaaaaaa-0000-0000-0000-000000000000',
    '[{"card_type": "company", "content": {"name": "new"}}, {"card_type": "voice", "content": {"name": "new"}}]',
    null,
    null
) as answer;
insert into stored
select
    'plain',
    answer.*
from app.store_cards(
    'aaaaaaaa-0000-0000-0000-000000000000', '[{"card_type": "insight", "content": {}}]', null, null
) as answer;
insert into stored
select
    'long',
    answer.*
from app.store_cards(
    'aaaaaaaa-0000-0000-0000-000000000000',
    (
        select jsonb_agg(jsonb_build_object('card_type', 'audience', 'content', jsonb_build_object('n', n)) order by n)
        from generate_series(1, 1000) as n
    ),
    null,
    null
) as answer;
reset role;

select results_eq(
    $$
    select document ->> 'card_type', document -> 'content' ->> 'name'
    from stored_card
    where call = 'mixed'
    order by position
    $$,
    $$ values ('voice', 'new'), ('voice', 'there'), ('company', 'new'), ('voice', 'new'), ('voice', 'deleted') $$,
    'the cards are answered in the order sent'
);
select results_eq(
    $$ select (document -> 'created')::boolean from stored_card where call = 'mixed' order by position $$,
    $$ values (true), (false), (true), (false), (true) $$,
    'only the first entry of a new card is created'
);
select is((select created_count from stored where call = 'mixed'), 3, 'the count is that of the entries created');
select is(
    (select document - 'created' from stored_card where call = 'mixed' and position = 4),
    (select document - 'created' from stored_card where call = 'mixed' and position = 1),
    'equal entries of a batch share one card'
);
select is(
    (select document ->> 'card_id' from stored_card where call = 'mixed' and position = 2),
    'aaaaaaaa-0000-0000-0000-000000000001',
    'content that an active card of the type has is that card'
);
select is(
    (select document -> 'usage_count' from stored_card where call = 'mixed' and position = 2),
    '3'::jsonb,
    'a card that was there brings its usage along'
);
select is(
    (select document ->> 'created_by' from stored_card where call = 'mixed' and position = 2),
    'ada',
    'a card that was there keeps its author'
);
select isnt(
    (select document ->> 'card_id' from stored_card where call = 'mixed' and position = 5),
    'aaaaaaaa-0000-0000-0000-000000000002',
    'content of a deleted card becomes a new card'
);
select isnt(
    (select document ->> 'card_id' from stored_card where call = 'mixed' and position = 3),
    (select document ->> 'card_id' from stored_card where call = 'mixed' and position = 1),
    'the same content under another type is another card'
);
select isnt(
    (select document ->> 'card_id' from stored_card where call = 'mixed' and position = 1),
    'bbbbbbbb-0000-0000-0000-000000000001',
    'another tenant''s card with the same content is not found'
);
select results_eq(
    $$
    select document ->> 'created_by', document ->> 'source_session_id'
    from stored_card
    where call = 'mixed' and position in (1, 3, 5)
    order by position
    $$,
    $$
    values
    ('eve', 'aaaaaaaa-0000-0000-0000-000000000009'),
    ('batch', 'aaaaaaaa-0000-0000-0000-000000000009'),
    ('batch', 'aaaaaaaa-0000-0000-0000-000000000008')
    $$,
    'author and session are the entry''s own, else the batch''s'
);
select set_eq(
    $$ select jsonb_array_elements(measures) from stored where call = 'mixed' $$,
    array[
        '["cards_created_total", {"result": "created", "card_type": "voice"}, 2]'::jsonb,
        '["cards_created_total", {"result": "existing", "card_type": "voice"}, 2]'::jsonb,
        '["cards_created_total", {"result": "created", "card_type": "company"}, 1]'::jsonb
    ],
    'the measures count entries by type and result'
);
select bag_eq(
    $$
    select card_type, content ->> 'name' as name, is_active
    from app.cards
    where tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000' and card_type in ('voice', 'company')
    $$,
    $$
    values
    ('voice', 'there', true),
    ('voice', 'deleted', false),
    ('voice', 'new', true),
    ('company', 'new', true),
    ('voice', 'deleted', true)
    $$,
    'the table holds what was there and one row for each new card'
);
select is(
    (
        select cards.content_hash
        from app.cards
        where
            cards.tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000'
            and cards.card_type = 'company'
    ),
    app.content_hash('{"name": "new"}'),
    'a new row carries the hash of its content'
);
select is(
    (
        select count(*)
        from stored_card
        inner join app.cards as card
            on
                card.tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000'
                and stored_card.document - 'created' = app.card_document(card, null)
        where stored_card.call = 'mixed' and stored_card.document -> 'created' = 'true'
    ),
    3::bigint,
    'a created card is answered as it stands in the table'
);

select is((select created_count from stored where call = 'again'), 0, 'what one call created the next one finds');
select results_eq(
    $$ select document - 'created' from stored_card where call = 'again' order by position desc $$,
    $$ select document - 'created' from stored_card where call = 'mixed' and position in (1, 3) order by position $$,
    'a card is the same in each call that finds it'
);

select is(
    (select document ->> 'created_by' from stored_card where call = 'plain'),
    'api',
    'a card that nobody signed was created by api'
);
select is(
    (select document -> 'source_session_id' from stored_card where call = 'plain'),
    'null'::jsonb,
    'a card without a session has none'
);

select results_eq(
    $$ select (document -> 'content' ->> 'n')::integer from stored_card where call = 'long' order by position $$,
    $$ select n from generate_series(1, 1000) as n $$,
    'a batch of 1,000 comes back in its order'
);
select results_eq(
    $$ select document ->> 'card_id' from stored_card where call = 'long' order by position $$,
    $$ select document ->> 'card_id' from stored_card where call = 'long' order by document ->> 'card_id' $$,
    'the ids of new cards rise in the order sent, so that "newest first" is the batch backwards'
);

set local role cardbase_api;
select throws_ok(
    $$
    select app.store_cards(
        'bbbbbbbb-0000-0000-0000-000000000000', '[{"card_type": "insight", "content": {}}]', null, null
    )
    $$,
    '42501',
    null,
    'cards of a tenant that is not the transaction''s are refused by the policy'
);

select * from finish();
rollback;
