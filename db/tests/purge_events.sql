begin;
\ir helpers/tests.psql
select plan(15);

insert into app.event_subscriptions (tenant_id, expires_at, horizon_transaction_id, horizon_event_id)
values
(tests.tenant('acme'), now() + interval '1 hour', '10', 0),
(tests.tenant('globex'), now() + interval '1 hour', '99', 0),
('cccccccc-0000-0000-0000-000000000000', now(), '10', 0);
insert into app.events (tenant_id, transaction_id, event_id, event_type, resource_id, created_at)
select
    tests.tenant(tenant),
    number::text::xid8,
    number,
    'old',
    'eeeeeeee-0000-0000-0000-000000000000',
    now() - interval '1 hour' - number * interval '1 second'
from unnest(array['acme', 'globex']) as tenant
cross join generate_series(11, 13) as number;
insert into app.events (tenant_id, event_type, resource_id, created_at)
values
(tests.tenant('acme'), 'young', 'eeeeeeee-0000-0000-0000-000000000000', now() - interval '59 minutes'),
(tests.tenant('acme'), 'new', 'eeeeeeee-0000-0000-0000-000000000000', now());

set local role cardbase_worker;
select throws_ok('select app.purge_events(60, 0)', '22023', null, 'to remove nothing is refused');
select throws_ok('select app.purge_events(60, 100001)', '22023', null, 'to remove too much at a time is refused');
select throws_ok('select app.purge_events(0)', '22023', null, 'to keep events for no minute is refused');
select throws_ok('select app.purge_events(10081)', '22023', null, 'to keep events for more than a week is refused');
select throws_ok('select app.purge_events(null)', '22023', null, 'a purge has to say for how long events are kept');
select is(app.purge_events(60, 2), 2::bigint, 'a call removes as many rows as it says, of all tenants');
reset role;
select results_eq(
    $$
    select subscription.horizon_transaction_id, subscription.horizon_event_id
    from app.event_subscriptions as subscription
    where subscription.tenant_id = tests.tenant('acme')
    $$,
    $$ values ('13'::xid8, 13::bigint) $$,
    'the horizon moves with what is removed'
);
set local role cardbase_worker;
select is(app.purge_events(60), 5::bigint, 'the next call removes the rest, and leases that are over');
select is(app.purge_events(), 0::bigint, 'when nothing is left a purge removes nothing');
reset role;
select set_eq('select event.event_type from app.events as event', array['young', 'new'], 'younger events stay');
select results_eq(
    'select subscription.horizon_transaction_id from app.event_subscriptions as subscription order by 1',
    $$ values ('13'::xid8), ('99') $$,
    'a horizon never moves back, and leases that last stay'
);
insert into app.events (tenant_id, transaction_id, event_type, resource_id, created_at)
values (
    tests.tenant('acme'),
    '9000000000000000000',
    'foreign',
    'eeeeeeee-0000-0000-0000-000000000000',
    now() - interval '1 hour'
);
set local role cardbase_worker;
select is(app.purge_events(), 1::bigint, 'an old event of another cluster is removed like any other');
reset role;
select is(
    (
        select subscription.horizon_transaction_id
        from app.event_subscriptions as subscription
        where subscription.tenant_id = tests.tenant('acme')
    ),
    '13'::xid8,
    'but the horizon does not move to a transaction that this cluster has not reached'
);
set local role cardbase_maintenance;
select tests.set_tenant(null);
select is_empty(
    $$ select event.event_id from app.events as event where event.created_at > now() - interval '1 minute' $$,
    'what is younger than a minute is out of a purge''s reach'
);
select is_empty(
    'select subscription.tenant_id from app.event_subscriptions as subscription',
    'leases that last are, but for the tenant whose events are removed'
);

select * from finish();
rollback;
