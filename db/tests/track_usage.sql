begin;
\ir helpers/tests.psql
select plan(32);

insert into app.cards (tenant_id, card_id, card_type, content, deleted_at)
values
(
    'aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000001', 'voice', '{"n": 1}', null
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
create temporary table card_before as
select card.*
from app.cards as card
where card.tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000';

create temporary table reply (call text primary key, status smallint, headers jsonb, body jsonb, measures jsonb);
grant insert, select on reply to cardbase_service;

set local role cardbase_service;
insert into reply
select
    'first',
    answer.*
from api.track_usage(
    tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
    card_id => 'aaaaaaaa-0000-0000-0000-000000000001',
    workflow_id => 'workflow-1',
    workflow_type => 'email',
    session_id => 'session-1'
) as answer;
insert into reply
select
    'repeat',
    answer.*
from api.track_usage(
    tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
    card_id => 'aaaaaaaa-0000-0000-0000-000000000001',
    workflow_id => 'workflow-1',
    workflow_type => 'letter',
    session_id => 'session-2'
) as answer;
insert into reply
select
    'other workflow',
    answer.*
from api.track_usage(
    'aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000001', 'workflow-2'
) as answer;
insert into reply
select
    'other card',
    answer.*
from api.track_usage(
    'aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000002', 'workflow-1'
) as answer;
insert into reply
select
    'no workflow',
    answer.*
from api.track_usage(
    'aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000002'
) as answer;
insert into reply
select
    'no workflow again',
    answer.*
from api.track_usage(
    'aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000002'
) as answer;
insert into reply
select
    'other tenant',
    answer.*
from api.track_usage(
    'bbbbbbbb-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000001', 'workflow-1'
) as answer;
reset role;

select is((select status from reply where call = 'first'), 200::smallint, 'a use is answered with 200');
select is(
    (select body - 'last_used_at' from reply where call = 'first'),
    '{"card_id": "aaaaaaaa-0000-0000-0000-000000000001", "usage_count": 1, "event_recorded": true}'::jsonb,
    'the first use of a card counts 1 and is recorded'
);
select is(
    (select headers from reply where call = 'first'),
    '{"X-Event-Recorded": "true"}'::jsonb,
    'a header says that the event was recorded'
);
select is(
    (select measures from reply where call = 'first'),
    '[["card_usage_events_total", {"card_type": "voice", "workflow_type": "email"}, 1]]'::jsonb,
    'a recorded event is measured by card type and workflow type'
);

select is((select status from reply where call = 'repeat'), 200::smallint, 'a workflow''s repeat is no error');
select is(
    (select body - 'last_used_at' from reply where call = 'repeat'),
    '{"card_id": "aaaaaaaa-0000-0000-0000-000000000001", "usage_count": 2, "event_recorded": false}'::jsonb,
    'a workflow''s repeat counts, but records no event'
);
select is(
    (select headers from reply where call = 'repeat'),
    '{"X-Event-Recorded": "false"}'::jsonb,
    'a header says that no event was recorded'
);
select is((select measures from reply where call = 'repeat'), null, 'a use without an event is not measured');
select cmp_ok(
    (select (body ->> 'last_used_at')::timestamptz from reply where call = 'repeat'),
    '>',
    (select (body ->> 'last_used_at')::timestamptz from reply where call = 'first'),
    'a workflow''s repeat moves the time of the last use'
);

select is(
    (select body - 'last_used_at' from reply where call = 'other workflow'),
    '{"card_id": "aaaaaaaa-0000-0000-0000-000000000001", "usage_count": 3, "event_recorded": true}'::jsonb,
    'another workflow''s use of the card is recorded'
);
select is(
    (select measures from reply where call = 'other workflow'),
    '[["card_usage_events_total", {"card_type": "voice", "workflow_type": null}, 1]]'::jsonb,
    'an event without workflow type is measured without one'
);
select is(
    (select body - 'last_used_at' from reply where call = 'other card'),
    '{"card_id": "aaaaaaaa-0000-0000-0000-000000000002", "usage_count": 1, "event_recorded": true}'::jsonb,
    'the same workflow''s use of another card is recorded, and counted there'
);
select is(
    (select (body ->> 'usage_count') || (body ->> 'event_recorded') from reply where call = 'no workflow'),
    '2true',
    'a use without a workflow is recorded'
);
select is(
    (select (body ->> 'usage_count') || (body ->> 'event_recorded') from reply where call = 'no workflow again'),
    '3true',
    'each use without a workflow is recorded'
);
select is(
    (select body - 'last_used_at' from reply where call = 'other tenant'),
    '{"card_id": "bbbbbbbb-0000-0000-0000-000000000001", "usage_count": 1, "event_recorded": true}'::jsonb,
    'another tenant''s workflow of the same name is another workflow'
);

select results_eq(
    $$
    select card_id, workflow_id, workflow_type, session_id
    from app.card_usage
    where tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000'
    order by usage_id
    $$,
    $$
    values
    ('aaaaaaaa-0000-0000-0000-000000000001'::uuid, 'workflow-1', 'email', 'session-1'),
    ('aaaaaaaa-0000-0000-0000-000000000001', 'workflow-2', null, null),
    ('aaaaaaaa-0000-0000-0000-000000000002', 'workflow-1', null, null),
    ('aaaaaaaa-0000-0000-0000-000000000002', null, null, null),
    ('aaaaaaaa-0000-0000-0000-000000000002', null, null, null)
    $$,
    'the events are stored as they were told first, in the order in which they came'
);
select is(
    (
        select card_usage.used_at
        from app.card_usage
        where
            card_usage.tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000'
            and card_usage.card_id = 'aaaaaaaa-0000-0000-0000-000000000001'
            and card_usage.workflow_id = 'workflow-2'
    ),
    (select (body ->> 'last_used_at')::timestamptz from reply where call = 'other workflow'),
    'the event bears the time that was answered'
);
select results_eq(
    $$
    select card_id, usage_count, last_used_at
    from app.card_usage_totals
    where tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000'
    order by card_id
    $$,
    $$
    select (body ->> 'card_id')::uuid, (body ->> 'usage_count')::bigint, (body ->> 'last_used_at')::timestamptz
    from reply
    where call in ('other workflow', 'no workflow again')
    order by body ->> 'card_id'
    $$,
    'the totals are what the last call of each card answered'
);
select bag_eq(
    $$ select cards.* from app.cards where cards.tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000' $$,
    $$ select card_before.* from card_before $$,
    'a use leaves the card itself as it is'
);

update app.card_usage_totals
set last_used_at = 'infinity'
where
    card_usage_totals.tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000'
    and card_usage_totals.card_id = 'aaaaaaaa-0000-0000-0000-000000000002';
set local role cardbase_service;
select is(
    (
        select answer.body ->> 'last_used_at'
        from api.track_usage(
            'aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000002', 'workflow-1'
        ) as answer
    ),
    'infinity',
    'the time of the last use never goes back'
);
select lives_ok(
    $$
    select api.track_usage(
        tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
        card_id => 'aaaaaaaa-0000-0000-0000-000000000001',
        workflow_id => repeat('é', 255),
        workflow_type => repeat('é', 100),
        session_id => repeat('é', 255)
    )
    $$,
    'texts of the greatest length are taken'
);
reset role;

create temporary table usage_before as
select
    (
        select count(*)
        from app.card_usage
        where
            card_usage.tenant_id in ('aaaaaaaa-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000000')
    ) as events,
    (
        select sum(card_usage_totals.usage_count)
        from app.card_usage_totals
        where
            card_usage_totals.tenant_id in (
                'aaaaaaaa-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000000'
            )
    ) as uses;

set local role cardbase_service;
select throws_ok(
    $$
    select api.track_usage(
        tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
        card_id => 'aaaaaaaa-0000-0000-0000-000000000001',
        workflow_id => repeat('x', 256)
    )
    $$,
    'PT422',
    'workflow_id is too long',
    'a workflow id of 256 characters is refused'
);
select throws_ok(
    $$
    select api.track_usage(
        tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
        card_id => 'aaaaaaaa-0000-0000-0000-000000000001',
        workflow_type => repeat('x', 101)
    )
    $$,
    'PT422',
    'workflow_type is too long',
    'a workflow type of 101 characters is refused'
);
select throws_ok(
    $$
    select api.track_usage(
        tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
        card_id => 'aaaaaaaa-0000-0000-0000-000000000001',
        session_id => repeat('x', 256)
    )
    $$,
    'PT422',
    'session_id is too long',
    'a session id of 256 characters is refused'
);
select throws_ok(
    $$ select api.track_usage('aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-00000000000f') $$,
    'PT404',
    'card not found',
    'a card that never was is not found'
);
select throws_ok(
    $$ select api.track_usage('aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000003') $$,
    'PT404',
    'card not found',
    'a deleted card is not found'
);
select throws_ok(
    $$ select api.track_usage('aaaaaaaa-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000001') $$,
    'PT404',
    'card not found',
    'another tenant''s card is not found'
);
select is(
    replace(
        tests.refusal(
            $$ select api.track_usage('aaaaaaaa-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000001') $$
        )::text,
        'bbbbbbbb-0000-0000-0000-000000000001',
        'aaaaaaaa-0000-0000-0000-00000000000f'
    ),
    tests.refusal(
        $$ select api.track_usage('aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-00000000000f') $$
    )::text,
    'the refusal of another tenant''s card is word for word that of a card that never was'
);
select throws_ok(
    $$ select api.track_usage('aaaaaaaa-0000-0000-0000-000000000000', null) $$,
    'PT404',
    'card not found',
    'no card is not found'
);
select throws_ok(
    $$ select api.track_usage(null, 'aaaaaaaa-0000-0000-0000-000000000001') $$,
    'PT404',
    'card not found',
    'without a tenant no card is found'
);
reset role;
select is(
    (
        select count(*)
        from app.card_usage
        where
            card_usage.tenant_id in ('aaaaaaaa-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000000')
    ),
    (select usage_before.events from usage_before),
    'a refused call records no event'
);
select is(
    (
        select sum(card_usage_totals.usage_count)
        from app.card_usage_totals
        where
            card_usage_totals.tenant_id in (
                'aaaaaaaa-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000000'
            )
    ),
    (select usage_before.uses from usage_before),
    'a refused call counts no use'
);

select * from finish();
rollback;
