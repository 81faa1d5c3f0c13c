begin;
\ir helpers/tests.psql
select plan(38);

-- What users of acme read, as the gateway does.
create function tests.read(names text[], after text default null, until text default null, maximum integer default 200)
returns jsonb
language sql
return (
    select reply.body
    from
        api.read_events(
            tests.tenant('acme'),
            array(select tests.person(name) from unnest(read.names) as name),
            read.after,
            read.until,
            read.maximum
        ) as reply
);
create function tests.types(answer jsonb)
returns text[]
language sql
immutable
return array(
    select event.value -> 'document' ->> 'type'
    from jsonb_array_elements(types.answer -> 'events') with ordinality as event (value, place)
    order by event.place
);
create function tests.place(transaction_id bigint, event_id bigint)
returns text
language sql
stable
return concat_ws(
    '-', ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint, place.transaction_id, place.event_id
);
select is(
    tests.read(array['ann']),
    '{"events": [], "position": null, "is_reset": false, "has_more": false, "is_pending": true}',
    'the first to listen is told that recording has only just begun'
);
select
    ok(
        subscription.expires_at between clock_timestamp()
        + interval '59 minutes' and clock_timestamp()
        + interval '1 hour'
        and subscription.horizon_transaction_id is null,
        'what happens is recorded for an hour from there on'
    )
from app.event_subscriptions as subscription;
do $do$
begin
    perform tests.read(array['ann']);
end;
$do$;
select
    is(
        subscription.horizon_transaction_id,
        pg_current_xact_id(),
        'the next call notes its own number: transactions before that may not have noticed that they are to record'
    )
from app.event_subscriptions as subscription;

-- From here on as if they had ended: what follows was done by others, long ago.
update app.event_subscriptions
set
    horizon_transaction_id = '10',
    horizon_event_id = 5;
select is(
    tests.read(array['ann']) - 'position',
    '{"events": [], "is_reset": true, "has_more": false, "is_pending": false}',
    'who has no position has to look for itself'
);
select is(
    tests.read(array['ann']) ->> 'position',
    tests.place(pg_snapshot_xmin(pg_current_snapshot())::text::bigint, 0),
    'and goes on from what is certain now'
);
insert into app.events (tenant_id, transaction_id, event_id, user_id, event_type, resource_id)
select
    tests.tenant(event.tenant),
    event.transaction_id::text::xid8,
    event.event_id,
    tests.person(event.person),
    event.event_type,
    'eeeeeeee-0000-0000-0000-000000000000'
from (
    values
    ('acme', 11, 2, null, 'second'),
    ('acme', 12, 1, null, 'third'),
    ('acme', 10, 9, null, 'first'),
    ('acme', 13, 11, 'ann', 'for ann'),
    ('acme', 14, 12, 'ben', 'for ben'),
    ('globex', 11, 3, null, 'elsewhere'),
    ('globex', 13, 13, 'ann', 'elsewhere, for one of the same id')
) as event (tenant, transaction_id, event_id, person, event_type);
insert into app.events (tenant_id, event_id, event_type, resource_id)
values (tests.tenant('acme'), 3, 'not certain', 'eeeeeeee-0000-0000-0000-000000000000');

select is(
    tests.types(tests.read(array['ann', 'ben'], tests.place(10, 5))),
    array['first', 'second', 'third', 'for ann', 'for ben'],
    'events come in the order of transactions, whatever their numbers'
);
select is(
    tests.read(array['ann'], tests.place(10, 5)) -> 'is_pending',
    'true',
    'of what another transaction could still come before, it is only said that it is there'
);
select is(
    tests.types(tests.read(array['ann'], tests.place(10, 5))),
    array['first', 'second', 'third', 'for ann'],
    'one user''s own events are not shown to another'
);
select
    is(
        tests.read(array['ann'], tests.place(12, 1)) #> '{events, 0}',
        jsonb_build_object(
            'user_id', tests.person('ann'),
            'position', tests.place(13, 11),
            'document', jsonb_build_object(
                'type', 'for ann',
                'resource_id', 'eeeeeeee-0000-0000-0000-000000000000',
                'created_at', event.created_at,
                'data', '{}'::jsonb
            )
        ),
        'an event tells whose it is, where it stands, and what those who listen are sent'
    )
from app.events as event
where event.event_type = 'for ann';
select is(
    tests.types(tests.read(array['ben'], tests.place(11, 2))),
    array['third', 'for ben'],
    'what was read is not read again'
);
select is(
    tests.read(array['ben'], tests.place(10, 5), maximum => 2) - 'events',
    jsonb_build_object('position', tests.place(11, 2), 'is_reset', false, 'has_more', true, 'is_pending', false),
    'a page that is full says where the next begins'
);
select is(
    tests.types(tests.read(array['ben'], tests.place(11, 2), maximum => 2)),
    array['third', 'for ben'],
    'which passes over what is not the reader''s'
);
select is(
    tests.types(tests.read(array['ann', 'ben'], tests.place(10, 5), tests.place(12, 1))),
    array['first', 'second', 'third'],
    'a read ends where it is told to'
);
select is(
    tests.read(array['ann'], tests.place(10, 5), tests.place(12, 1)) ->> 'position',
    tests.place(12, 1),
    'and goes on from there'
);
select is(tests.read(array['ann'], known.after) -> 'is_reset', to_jsonb(known.is_reset), known.rule)
from (
    values
    (tests.place(10, 5), false, 'the horizon itself is a position'),
    (tests.place(10, 4), true, 'what lies before the horizon is not known any more'),
    (tests.place(9, 9), true, 'nor is what lies long before it'),
    (tests.place(9000000000000000000, 1), true, 'a position that has not come yet is none of ours'),
    ('999-11-2', true, 'nor is one of another timeline')
) as known (after, is_reset, rule);

update app.event_subscriptions
set expires_at = clock_timestamp() + interval '29 minutes';
select is(
    tests.read(array['ann'], tests.place(10, 5)) -> 'is_reset',
    'false',
    'a lease is renewed without anything being lost'
);
select
    cmp_ok(
        subscription.expires_at,
        '>',
        clock_timestamp() + interval '59 minutes',
        'that is done in good time, for an hour'
    )
from app.event_subscriptions as subscription;
update app.event_subscriptions
set expires_at = clock_timestamp() + interval '59 seconds';
select is(
    tests.read(array['ann'], tests.place(10, 5)) ->> 'position',
    null,
    'a lease that is nearly over counts as over: recording begins anew'
);
select is(
    (select subscription.horizon_transaction_id from app.event_subscriptions as subscription),
    null,
    'and what was read before does not lead on'
);
-- As a dump of another cluster brings it, whose transactions have higher numbers
update app.event_subscriptions
set horizon_transaction_id = '9000000000000000000';
insert into app.events (tenant_id, transaction_id, event_type, resource_id)
values (tests.tenant('acme'), '8999999999999999999', 'foreign', 'eeeeeeee-0000-0000-0000-000000000000');
select is(
    tests.read(array['ann'], tests.place(10, 5)) -> 'is_pending',
    'true',
    'a horizon that no transaction of this cluster has reached is a lapsed lease: recording begins anew'
);
do $do$
begin
    perform tests.read(array['ann']);
end;
$do$;
select is(
    (select subscription.horizon_transaction_id from app.event_subscriptions as subscription),
    pg_current_xact_id(),
    'and has a horizon of this cluster again'
);
update app.event_subscriptions
set horizon_transaction_id = '10';
select is(
    tests.read(array['ann'], tests.place(10, 5)) -> 'is_reset',
    'false',
    'from which listeners go on'
);
update app.events
set user_id = tests.person('eve')
where event_type = 'not certain';
select is(
    tests.read(array['ann'], tests.place(10, 5)) -> 'is_pending',
    'false',
    'an event of another cluster''s future is not waited for'
);
update app.events
set user_id = null
where event_type = 'not certain';
delete from app.events
where event_type = 'foreign';

select
    throws_ok(
        format('select tests.read(array[''ann''], %L)', refused.after),
        'PT422',
        null,
        'this is no position: ' || refused.after
    )
from (values ('x'), ('1-2'), ('1-2-3-4'), ('1--2'), ('1-2-9999999999999999999'), (' 1-2-3')) as refused (after);
select throws_ok(
    $$ select api.read_events(tests.tenant('acme'), '{}') $$, 'PT401', null, 'who is no user reads nothing'
);
select throws_ok(
    $$ select tests.read(array['ann'], maximum => 1001) $$, 'PT422', null, 'too many at once are refused'
);

-- Beneath the function.
set local role cardbase_api;
select tests.set_tenant(tests.tenant('acme'));
do $do$
begin
    perform set_config('app.current_listener_ids', array[tests.person('ann')]::text, true);
end;
$do$;
select set_eq(
    'select event.event_type from app.events as event',
    array['first', 'second', 'third', 'for ann', 'not certain'],
    'the policy shows a user''s own events and those for all, of the tenant alone'
);
do $do$
begin
    perform set_config('app.current_listener_ids', '', true);
end;
$do$;
select is_empty(
    'select event.event_type from app.events as event where event.user_id is not null',
    'it shows nobody''s own events where nobody listens'
);
select throws_ok(
    $$
    insert into app.events (tenant_id, event_type, resource_id)
    values (tests.tenant('globex'), 'planted', 'eeeeeeee-0000-0000-0000-000000000000')
    $$,
    '42501',
    null,
    'and lets in no event of another tenant'
);

select * from finish();
rollback;
