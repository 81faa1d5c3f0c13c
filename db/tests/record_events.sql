begin;
\ir helpers/tests.psql
select plan(20);

-- Somebody listens to acme. Globex had a listener, whose lease is over.
insert into app.event_subscriptions (tenant_id, expires_at)
values (tests.tenant('acme'), now() + interval '1 hour'), (tests.tenant('globex'), now());
create function tests.person()
returns uuid
language sql
immutable
return 'aaaaaaaa-0000-0000-0000-00000000000a'::uuid;
-- The events recorded since the last look, in their order: <type> <rows>.
create temporary table seen (event_id bigint);
create function tests.events()
returns text[]
language plpgsql
as $$
declare
    _events text [];
begin
    with fresh as (
        select event.*
        from app.events as event
        where event.event_id not in (select seen.event_id from seen)
    ),

    noted as (
        insert into seen (event_id)
        select fresh.event_id
        from fresh
    )

    select array_agg(counted.text order by counted.event_id)
    into _events
    from (
        select
            min(fresh.event_id) as event_id,
            format('%s %s', fresh.event_type, count(*)) as text
        from fresh
        group by fresh.event_type
    ) as counted;

    return _events;
end;
$$;
create function tests.id_of(resource text)
returns uuid
language sql
stable
return (
    select event.resource_id
    from app.events as event
    where event.event_type = id_of.resource || '.created'
    order by event.event_id
    limit 1
);

set local role cardbase_service;
select lives_ok(
    format(
        'select api.create_cards(%L, %L)',
        tests.tenant('acme'),
        '[{"card_type": "voice", "content": {"a": 1}}, {"card_type": "voice", "content": {"a": 2}}]'
    ),
    'cards are created'
);
reset role;
select is(tests.events(), array['card.created 2'], 'each card created is an event');
select results_eq(
    'select distinct event.tenant_id, event.user_id, event.data, event.transaction_id from app.events as event',
    $$ values (tests.tenant('acme'), null::uuid, '{"card_type": "voice"}'::jsonb, pg_current_xact_id()) $$,
    'an event of a card is for all users of the tenant, of this transaction, and without the card''s content'
);
set local role cardbase_service;
select lives_ok(
    format(
        'select api.create_cards(%L, %L)', tests.tenant('acme'), '[{"card_type": "voice", "content": {"a": 1}}]'
    ),
    'a card that is there is created again'
);
reset role;
select is(tests.events(), null, 'a card that was there already is no event');
set local role cardbase_service;
select
    lives_ok(
        format('select api.create_cards(%L, %L)', tenant_id, '[{"card_type": "voice", "content": {"b": 1}}]'),
        rule
    )
from (
    values
    (tests.tenant('globex'), 'a card of a tenant whose lease is over is created'),
    ('cccccccc-0000-0000-0000-000000000000', 'a card of a tenant that nobody listened to is created')
) as quiet (tenant_id, rule);
reset role;
select is(tests.events(), null, 'nothing is recorded of a tenant that nobody listens to');

do $do$
declare
    _tenant_id constant uuid := tests.tenant('acme');
    _card_id constant uuid := tests.id_of('card');
begin
    perform api.update_card(_tenant_id, _card_id, '{"a": 3}');
    perform api.delete_card(_tenant_id, _card_id);
end;
$do$;
select is(tests.events(), array['card.updated 1', 'card.deleted 1'], 'changed and deleted cards are events');

do $do$
declare
    _tenant_id constant uuid := tests.tenant('acme');
    _user_id constant uuid := tests.person();
    _conversation_id uuid;
    _body jsonb;
begin
    perform api.create_memory(_tenant_id, _user_id, 'remember');
    perform api.update_memory(_tenant_id, _user_id, tests.id_of('memory'), 'remember better');
    perform api.delete_memory(_tenant_id, _user_id, tests.id_of('memory'));
    perform api.create_task(_tenant_id, _user_id, 'do');
    perform api.update_task(_tenant_id, _user_id, tests.id_of('task'), status => 'completed');
    select created.body into _body from api.create_conversation(_tenant_id, _user_id) as created;
    _conversation_id := _body -> 'data' ->> 'id';
    perform api.create_messages(
        _tenant_id,
        _user_id,
        _conversation_id,
        (select jsonb_agg('{"role": "user", "content": "hello"}'::jsonb) from generate_series(1, 1000))
    );
    perform api.delete_conversation(_tenant_id, _user_id, _conversation_id);
end;
$do$;
select is(
    tests.events(),
    array[
        'memory.created 1',
        'memory.updated 1',
        'memory.deleted 1',
        'task.created 1',
        'task.updated 1',
        'message.created 1000',
        'message.deleted 1000'
    ],
    'what becomes of memories, tasks and messages is told, also of a thousand at once'
);
select set_eq(
    $$ select distinct event.user_id from app.events as event where event.event_type not like 'card%' $$,
    array[tests.person()],
    'what is a user''s own is told to that user'
);
select set_eq(
    $$
    select distinct
        event.event_type,
        event.data ->> 'status',
        (select array_agg(name order by name) from jsonb_object_keys(event.data) as name)
    from app.events as event
    where event.event_type in ('task.created', 'task.updated', 'message.created', 'memory.created')
    $$,
    $$
    values
    ('task.created', 'pending', array['status']),
    ('task.updated', 'completed', array['status']),
    ('message.created', null, array['conversation_id', 'position']),
    ('memory.created', null, null)
    $$,
    'events tell ids and states, and nothing else'
);

-- A worker writes jobs of several tenants in one statement.
insert into app.jobs (tenant_id, id, user_id, kind, queue, arguments, maximum_attempts)
select
    tests.tenant(tenant),
    'dddddddd-0000-0000-0000-000000000001',
    tests.person(),
    'test',
    'default',
    '{"secret": "argument"}',
    1
from unnest(array['acme', 'globex']) as tenant;
set local role cardbase_dispatcher;
select tests.set_tenant(null);
update app.jobs as job
set status = 'running'
where job.id = 'dddddddd-0000-0000-0000-000000000001';
update app.jobs as job
set
    status = 'completed',
    result = '{"secret": "result"}'
where job.id = 'dddddddd-0000-0000-0000-000000000001';
update app.jobs as job
set attempts = 2
where job.id = 'dddddddd-0000-0000-0000-000000000001';
select is(app.current_tenant_id(), null, 'the writer''s tenant is as it was');
reset role;
select is(
    tests.events(),
    array['job.created 1', 'job.running 1', 'job.completed 1'],
    'each new state of a job is an event, for the tenant that somebody listens to'
);
select results_eq(
    $$
    select event.user_id, event.data
    from app.events as event
    where event.event_type = 'job.completed'
    $$,
    $$ values (tests.person(), '{"kind": "test", "status": "completed"}'::jsonb) $$,
    'an event of a job tells its kind and status to its owner'
);

select is(
    tests.refusal(format('select api.create_task(%L, %L, %L)', tests.tenant('acme'), tests.person(), 'never mind')),
    null,
    'a task is created, and that is undone'
);
select is(tests.events(), null, 'what is rolled back is no event');

select is(
    (
        select count(*)
        from pg_trigger
        where pg_trigger.tgfoid in ('app.record_events'::regproc, 'app.record_job_events'::regproc)
    ),
    10::bigint,
    'the five tables are watched, for rows added and rows changed'
);
select tests.set_tenant(tests.tenant('globex'));
select is(app.has_listeners(), false, 'a lease that is over is none');
select tests.set_tenant(tests.tenant('acme'));
select is(app.has_listeners(), true, 'a lease that lasts is one');

select * from finish();
rollback;
