-- Removes old events of all tenants, and expired leases, a bounded number per call.
--   retention_minutes   how many minutes events are kept, 1 to 10,080
--   maximum_rows        how many to remove at most, 1 to 100,000
-- Returns how many were removed; fewer than maximum_rows means that none are left for now.
-- Errors: 22023, a parameter is out of range.
-- A tenant's horizon moves behind what is removed, in the same transaction: a listener that resumes from before it gets
-- a reset.
create or replace function app.purge_events(retention_minutes integer default 60, maximum_rows integer default 1000)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _last record;
    _purged bigint := 0::bigint;
    _leases bigint;
begin
    perform app.check_parameter('retention_minutes', purge_events.retention_minutes, 10080);
    perform app.check_parameter('maximum_rows', purge_events.maximum_rows, 100000);

    for _last in
        with due as (
            select
                event.tenant_id,
                event.transaction_id,
                event.event_id
            from app.events as event
            where event.created_at <= now() - make_interval(mins => purge_events.retention_minutes)
            order by event.created_at
            limit purge_events.maximum_rows
            for update skip locked
        ),

        purged as (
            delete from app.events as event
            using due
            where
                event.tenant_id = due.tenant_id
                and event.transaction_id = due.transaction_id
                and event.event_id = due.event_id
            returning event.tenant_id, event.transaction_id, event.event_id
        )

        select distinct on (purged.tenant_id)
            purged.tenant_id,
            purged.transaction_id,
            purged.event_id,
            count(*) over (partition by purged.tenant_id) as rows
        from purged
        order by purged.tenant_id, purged.transaction_id desc, purged.event_id desc
    loop
        _purged := _purged + _last.rows;
        perform set_config('app.current_tenant_id', _last.tenant_id::text, true);

        update app.event_subscriptions as subscription
        set
            horizon_transaction_id = _last.transaction_id,
            horizon_event_id = _last.event_id
        where
            subscription.tenant_id = _last.tenant_id
            and (subscription.horizon_transaction_id, subscription.horizon_event_id)
            < (_last.transaction_id, _last.event_id)
            -- Else another cluster's, from a dump.
            and _last.transaction_id < pg_snapshot_xmax(pg_current_snapshot());
    end loop;

    perform set_config('app.current_tenant_id', '', true);

    with due as (
        select subscription.tenant_id
        from app.event_subscriptions as subscription
        where subscription.expires_at <= now()
        order by subscription.expires_at
        limit purge_events.maximum_rows - _purged
        for update skip locked
    )

    delete from app.event_subscriptions as subscription
    using due
    where subscription.tenant_id = due.tenant_id;

    get diagnostics _leases = row_count;
    return _purged + _leases;
end;
$$;

comment on function app.purge_events(integer, integer) is
$$Removes old events of all tenants, and expired leases, a bounded number per call.

Returns how many were removed. 22023: retention_minutes is not between 1 and 10,080, or maximum_rows not between 1 and
100,000.$$;
alter function app.purge_events(integer, integer) owner to cardbase_maintenance;
revoke all on function app.purge_events(integer, integer) from public;
grant execute on function app.purge_events(integer, integer) to cardbase_worker;
