begin;
\ir helpers/tests.psql
select plan(29);

insert into app.cards (tenant_id, card_id, card_type, content, deleted_at)
values
(tests.tenant('acme'), '01000000-0000-7000-8000-000000000001', 'voice', '{"n": 1}', null),
(tests.tenant('acme'), '01000000-0000-7000-8000-000000000002', 'voice', '{"n": 2}', null),
(tests.tenant('acme'), '01000000-0000-7000-8000-000000000003', 'voice', '{"n": 3}', '2026-01-02'),
(tests.tenant('acme'), '01000000-0000-7000-8000-000000000004', 'voice', '{"n": 4}', null),
(tests.tenant('globex'), '02000000-0000-7000-8000-000000000001', 'voice', '{"n": 1}', null);
insert into app.card_usage_totals (tenant_id, card_id, usage_count, last_used_at)
select
    cards.tenant_id,
    cards.card_id,
    9,
    '2026-01-03'
from app.cards
where
    cards.tenant_id in (tests.tenant('acme'), tests.tenant('globex'))
    and cards.card_id <> '01000000-0000-7000-8000-000000000004';
-- The ids are older than any made now, and end in the order of use.
insert into app.card_usage (tenant_id, card_id, usage_id, workflow_id, workflow_type, session_id, used_at)
values
(
    tests.tenant('acme'), '01000000-0000-7000-8000-000000000001', '00e00000-0000-7000-8000-000000000001',
    'workflow-1', 'email', 'session-1', '2026-01-01 12:00:00+00'
),
(
    tests.tenant('acme'), '01000000-0000-7000-8000-000000000001', '00e00000-0000-7000-8000-000000000002',
    null, null, null, '2026-01-02 12:00:00+00'
),
(
    tests.tenant('acme'), '01000000-0000-7000-8000-000000000001', '00e00000-0000-7000-8000-000000000003',
    'workflow-2', null, null, '2026-01-03 12:00:00+00'
),
(
    tests.tenant('acme'), '01000000-0000-7000-8000-000000000002', '00e00000-0000-7000-8000-000000000004',
    'workflow-1', null, null, '2026-01-04'
),
(
    tests.tenant('acme'), '01000000-0000-7000-8000-000000000003', '00e00000-0000-7000-8000-000000000005',
    'workflow-1', null, null, '2026-01-05'
),
(
    tests.tenant('globex'), '02000000-0000-7000-8000-000000000001', '00e00000-0000-7000-8000-000000000006',
    'workflow-1', null, null, '2026-01-06'
);

-- The events of an answer, by the last digit of their id, in its order.
create function tests.events(body jsonb)
returns integer[]
language sql
immutable
return array(
    select right(entry.event ->> 'usage_id', 1)::integer
    from jsonb_array_elements(events.body -> 'events') with ordinality as entry (event, position)
    order by entry.position
);
grant execute on all functions in schema tests to public;

-- A service of the tenant
set local role cardbase_service;
select results_eq(
    $$
    select status, headers, body, measures
    from api.list_usage(tests.tenant('acme'), '01000000-0000-7000-8000-000000000001')
    $$,
    $$
    select
        200::smallint,
        null::jsonb,
        '{
            "events": [
                {
                    "usage_id": "00e00000-0000-7000-8000-000000000003",
                    "workflow_id": "workflow-2",
                    "workflow_type": null,
                    "session_id": null,
                    "used_at": "2026-01-03T12:00:00+00:00"
                },
                {
                    "usage_id": "00e00000-0000-7000-8000-000000000002",
                    "workflow_id": null,
                    "workflow_type": null,
                    "session_id": null,
                    "used_at": "2026-01-02T12:00:00+00:00"
                },
                {
                    "usage_id": "00e00000-0000-7000-8000-000000000001",
                    "workflow_id": "workflow-1",
                    "workflow_type": "email",
                    "session_id": "session-1",
                    "used_at": "2026-01-01T12:00:00+00:00"
                }
            ],
            "next_cursor": null
        }'::jsonb,
        null::jsonb
    $$,
    'a card''s events are answered with 200, newest first, and no other card''s'
);
select results_eq(
    $$ select body from api.list_usage(tests.tenant('acme'), '01000000-0000-7000-8000-000000000004') $$,
    $$ values ('{"events": [], "next_cursor": null}'::jsonb) $$,
    'a card that was never used has no events'
);
select results_eq(
    $$
    select body
    from api.list_usage(
        tenant_id => tests.tenant('acme'),
        card_id => '01000000-0000-7000-8000-000000000001',
        "limit" => null,
        cursor => null
    )
    $$,
    $$ select body from api.list_usage(tests.tenant('acme'), '01000000-0000-7000-8000-000000000001') $$,
    'nulls mean the defaults'
);
with recursive page as (
    select listed.body
    from api.list_usage(tests.tenant('acme'), '01000000-0000-7000-8000-000000000001', 1) as listed
    union all
    select listed.body
    from page
    cross join
        lateral api.list_usage(
            tests.tenant('acme'), '01000000-0000-7000-8000-000000000001', 1, page.body ->> 'next_cursor'
        ) as listed
    where page.body ->> 'next_cursor' is not null
)

select is(
    (select array_agg(tests.events(page.body)::text) from page),
    array['{3}', '{2}', '{1}'],
    'a walk by cursors meets each event once, in order'
);
select matches(
    (
        select body ->> 'next_cursor'
        from api.list_usage(tests.tenant('acme'), '01000000-0000-7000-8000-000000000001', 2)
    ),
    '^[A-Za-z0-9_-]{32}$',
    'a page before the last one has a cursor'
);
select is(
    (
        select body -> 'next_cursor'
        from api.list_usage(tests.tenant('acme'), '01000000-0000-7000-8000-000000000001', 3)
    ),
    'null'::jsonb,
    'a page that ends with the history has none'
);

create temporary table first_page as
select listed.body
from api.list_usage(tests.tenant('acme'), '01000000-0000-7000-8000-000000000001', 1) as listed;
select lives_ok(
    $$ select api.track_usage(tests.tenant('acme'), '01000000-0000-7000-8000-000000000001', 'workflow-3') $$,
    'a use is recorded while a history is read'
);
select is(
    (
        select tests.events(listed.body)
        from first_page
        cross join lateral api.list_usage(
            tests.tenant('acme'), '01000000-0000-7000-8000-000000000001', 5, first_page.body ->> 'next_cursor'
        ) as listed
    ),
    array[2, 1],
    'an event that was added does not move the next page, and the limit may change between pages'
);
select lives_ok(
    $$ select api.track_usage(tests.tenant('acme'), '01000000-0000-7000-8000-000000000001', 'workflow-1') $$,
    'a workflow repeats its use'
);
select is(
    (
        select jsonb_array_length(body -> 'events')
        from api.list_usage(tests.tenant('acme'), '01000000-0000-7000-8000-000000000001')
    ),
    4,
    'a workflow''s repeat is no event of the history'
);

-- Refusals
select throws_ok(
    $$ select api.list_usage(tests.tenant('acme'), '01000000-0000-7000-8000-00000000000f') $$,
    'PT404',
    null,
    'a card that never was is not found'
);
select throws_ok(
    $$ select api.list_usage(tests.tenant('acme'), '01000000-0000-7000-8000-000000000003') $$,
    'PT404',
    null,
    'a deleted card is not found, though its events stay'
);
select throws_ok(
    $$ select api.list_usage(tests.tenant('acme'), '02000000-0000-7000-8000-000000000001') $$,
    'PT404',
    null,
    'another tenant''s card is not found'
);
select is(
    replace(
        tests.refusal($$ select api.list_usage(tests.tenant('acme'), '02000000-0000-7000-8000-000000000001') $$)::text,
        '02000000-0000-7000-8000-000000000001',
        '01000000-0000-7000-8000-00000000000f'
    ),
    tests.refusal($$ select api.list_usage(tests.tenant('acme'), '01000000-0000-7000-8000-00000000000f') $$)::text,
    'the refusal of another tenant''s card is word for word that of a card that never was'
);
select throws_ok($$ select api.list_usage(tests.tenant('acme'), null) $$, 'PT404', null, 'no card is not found');
select throws_ok(
    $$ select api.list_usage(tests.tenant('acme'), '01000000-0000-7000-8000-000000000001', 0) $$,
    'PT422',
    null,
    'a page of no event is refused'
);
select throws_ok(
    $$ select api.list_usage(tests.tenant('acme'), '01000000-0000-7000-8000-000000000001', 1001) $$,
    'PT422',
    null,
    'a page of 1,001 events is refused'
);
select lives_ok(
    $$ select api.list_usage(tests.tenant('acme'), '01000000-0000-7000-8000-000000000001', 1000) $$,
    'a page of 1,000 events may be asked for'
);
select throws_ok(
    $$ select api.list_usage(tests.tenant('acme'), '01000000-0000-7000-8000-000000000001', cursor => 'garbage') $$,
    'PT422',
    null,
    'garbage is no cursor'
);
select throws_ok(
    $$
    select api.list_usage(
        tests.tenant('acme'),
        '01000000-0000-7000-8000-000000000002',
        cursor => (select first_page.body ->> 'next_cursor' from first_page)
    )
    $$,
    'PT422',
    null,
    'another card''s cursor is refused'
);
select throws_ok(
    $$
    select api.list_usage(
        tests.tenant('acme'),
        '01000000-0000-7000-8000-000000000001',
        cursor => (select body ->> 'next_cursor' from api.list_cards(tests.tenant('acme'), "limit" => 1))
    )
    $$,
    'PT422',
    null,
    'the cursor of a list of cards is refused'
);
select results_eq(
    $$
    select
        tests.refusal($q$ select api.list_usage(tests.tenant('acme'), gen_random_uuid(), 0) $q$) ->> 'column',
        tests.refusal($q$ select api.list_usage(tests.tenant('acme'), gen_random_uuid(), 1, 'x') $q$) ->> 'column',
        tests.refusal($q$ select api.list_usage(tests.tenant('acme'), gen_random_uuid()) $q$) ->> 'column'
    $$,
    $$ values ('limit', 'cursor', 'card_id') $$,
    'a refusal names the parameter'
);

-- Another tenant, and none
select is(
    (select tests.events(body) from api.list_usage(tests.tenant('globex'), '02000000-0000-7000-8000-000000000001')),
    array[6],
    'the other tenant lists the events of its own card'
);
select throws_ok(
    $$ select api.list_usage(tests.tenant('globex'), '01000000-0000-7000-8000-000000000001') $$,
    'PT404',
    null,
    'the other tenant does not find this one''s card'
);
select throws_ok(
    $$ select api.list_usage(null, '01000000-0000-7000-8000-000000000001') $$,
    'PT404',
    null,
    'without a tenant no card is found'
);

-- The gateway
set local role cardbase_gateway;
select results_eq(
    $$ select status from api.list_usage(tests.tenant('acme'), '01000000-0000-7000-8000-000000000001') $$,
    $$ values (200::smallint) $$,
    'the gateway may list a card''s events'
);

-- The policy beneath it
set local role cardbase_api;
select tests.set_tenant(tests.tenant('globex'));
select results_eq(
    $$ select usage_id from app.card_usage $$,
    $$ values ('00e00000-0000-7000-8000-000000000006'::uuid) $$,
    'the policy shows a tenant its own events only'
);
select tests.set_tenant(null);
select is_empty($$ select usage_id from app.card_usage $$, 'without a tenant the policy shows no event');
reset role;

select volatility_is(
    'api', 'list_usage', array['uuid', 'uuid', 'integer', 'text'], 'stable', 'list_usage changes nothing'
);

select * from finish();
rollback;
