begin;
\ir helpers/tests.psql
select plan(18);

insert into app.cards (tenant_id, card_id, card_type, content)
values
('aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000001', 'voice', '{"name": "ours"}'),
('bbbbbbbb-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000001', 'voice', '{"name": "theirs"}');
insert into app.card_usage_totals (tenant_id, card_id, usage_count, last_used_at)
values
('aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000001', 7, '2001-01-01'),
('bbbbbbbb-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000001', 7, '2001-01-01');

-- Older than any other row, so that these come first.
insert into app.card_usage (tenant_id, card_id, workflow_id, used_at)
select
    tenant.id,
    overlay(tenant.id::text placing '1' from 36)::uuid,
    'old ' || day,
    make_timestamptz(2000, 1, day, tenant.hour, 0, 0)
from (
    values
    ('aaaaaaaa-0000-0000-0000-000000000000'::uuid, 1),
    ('bbbbbbbb-0000-0000-0000-000000000000', 2)
) as tenant (id, hour)
cross join generate_series(1, 3) as day
union all
select
    'aaaaaaaa-0000-0000-0000-000000000000',
    'aaaaaaaa-0000-0000-0000-000000000001',
    due.workflow_id,
    now() - interval '30 days' + due.later
from (
    values
    ('due now', interval '0'),
    ('due later', interval '1 microsecond'),
    ('new', interval '30 days')
) as due (workflow_id, later);
create temporary view kept as
select card_usage.workflow_id
from app.card_usage
where card_usage.tenant_id in ('aaaaaaaa-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000000');

select
    throws_ok(
        format('select app.purge_card_usage(%L, %L)', refused.retention_days, refused.maximum_rows),
        '22023',
        refused.message,
        refused.rule
    )
from (
    values
    (30, 0, 'maximum_rows is out of range', 'to remove none is refused'),
    (30, 100001, 'maximum_rows is out of range', 'to remove more than 100,000 in one call is refused'),
    (30, null, 'maximum_rows is out of range', 'to remove an unknown number is refused'),
    (0, 1, 'retention_days is out of range', 'to keep events for no day is refused'),
    (-1, 1, 'retention_days is out of range', 'to remove what has not happened is refused'),
    (36501, 1, 'retention_days is out of range', 'to keep events for more than 36,500 days is refused'),
    (null, 1, 'retention_days is out of range', 'a purge that does not say for how long events are kept is refused')
) as refused (retention_days, maximum_rows, message, rule);
select is(
    tests.refusal('select app.purge_card_usage(0)') ->> 'detail',
    'Expected 1 to 36,500, got 0.',
    'the refusal names the bounds and the number'
);
select is((select count(*) from kept), 9::bigint, 'a refused purge removes nothing');

select is(app.purge_card_usage(30, 1), 1::bigint, 'a call removes as many rows as it says, and no more');
select bag_eq(
    'table kept',
    array['old 1', 'old 2', 'old 2', 'old 3', 'old 3', 'due now', 'due later', 'new'],
    'the oldest event goes first'
);
select is(app.purge_card_usage(30, 3), 3::bigint, 'one call removes events of several tenants');
select cmp_ok(app.purge_card_usage(30, 100000), '>=', 3::bigint, 'a purge removes what there is');
select is(app.purge_card_usage(30), 0::bigint, 'when nothing is left a purge removes nothing');
select bag_eq('table kept', array['due later', 'new'], 'events stay for as many days as the purge says');
select set_eq(
    $$
    select distinct card_usage_totals.usage_count
    from app.card_usage_totals
    where card_usage_totals.card_id in (
        'aaaaaaaa-0000-0000-0000-000000000001', 'bbbbbbbb-0000-0000-0000-000000000001'
    )
    $$,
    array[7::bigint],
    'the totals stay as they are'
);

set local role cardbase_maintenance;
select tests.set_tenant(null);
select results_eq(
    $$
    with event as materialized (
        select card_usage.used_at
        from app.card_usage
        where card_usage.used_at <= now() - interval '1 microsecond'
    )

    select count(*)
    from event
    where event.used_at > now() - interval '1 day'
    $$,
    array[0::bigint],
    'what is younger than a day is out of a purge''s reach, whatever retention it is told'
);

set local role cardbase_worker;
select lives_ok('select app.purge_card_usage(36500)', 'a worker may purge');

select * from finish();
rollback;
