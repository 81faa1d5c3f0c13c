begin;
select plan(5);

set local timezone to 'utc';

insert into app.cards (
    tenant_id, card_id, card_type, content, source_session_id, created_by, created_at, updated_at, deleted_at
)
values
(
    'aaaaaaaa-0000-0000-0000-000000000000',
    'aaaaaaaa-0000-0000-0000-000000000001',
    'voice',
    '{"a": 1, "b": 2}',
    'aaaaaaaa-0000-0000-0000-000000000009',
    'ada',
    '2026-01-02 03:04:05.678901+00',
    '2026-02-03 04:05:06+00',
    null
),
(
    'aaaaaaaa-0000-0000-0000-000000000000',
    'aaaaaaaa-0000-0000-0000-000000000002',
    'voice',
    '{}',
    null,
    'ada',
    '2026-01-02 03:04:05+00',
    '2026-01-02 03:04:05+00',
    '2026-03-04 05:06:07+00'
);
insert into app.card_usage_totals (tenant_id, card_id, usage_count, last_used_at)
values (
    'aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000001', 3, '2026-04-05 06:07:08+00'
);

create temporary table document as
select
    card.card_id,
    app.card_document(card, total) as document
from app.cards as card
left join app.card_usage_totals as total
    on card.tenant_id = total.tenant_id and card.card_id = total.card_id
where card.tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000';

select is(
    (select document from document where card_id = 'aaaaaaaa-0000-0000-0000-000000000001'),
    '{
        "card_id": "aaaaaaaa-0000-0000-0000-000000000001",
        "card_type": "voice",
        "content": {"a": 1, "b": 2},
        "content_hash": "d8497d9d82770a70729261095aa98f7ef5154d7af499f8037b6ca250296785a6",
        "source_session_id": "aaaaaaaa-0000-0000-0000-000000000009",
        "created_by": "ada",
        "created_at": "2026-01-02T03:04:05.678901+00:00",
        "updated_at": "2026-02-03T04:05:06+00:00",
        "is_active": true,
        "deleted_at": null,
        "usage_count": 3,
        "last_used_at": "2026-04-05T06:07:08+00:00"
    }'::jsonb,
    'the document holds these fields of card and usage, and no tenant'
);
select is(
    (select document -> 'usage_count' from document where card_id = 'aaaaaaaa-0000-0000-0000-000000000002'),
    '0'::jsonb,
    'a card that was never used has been used 0 times'
);
select is(
    (select document -> 'last_used_at' from document where card_id = 'aaaaaaaa-0000-0000-0000-000000000002'),
    'null'::jsonb,
    'a card that was never used was last used at no time'
);
select is(
    (select document -> 'is_active' from document where card_id = 'aaaaaaaa-0000-0000-0000-000000000002'),
    'false'::jsonb,
    'a deleted card is not active'
);
select is(
    (select document -> 'deleted_at' from document where card_id = 'aaaaaaaa-0000-0000-0000-000000000002'),
    '"2026-03-04T05:06:07+00:00"'::jsonb,
    'a deleted card says when it was deleted'
);

select * from finish();
rollback;
