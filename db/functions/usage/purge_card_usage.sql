-- Removes old usage events of all tenants, a bounded number per call.
--   retention_days   how many days events are kept, 1 to 36,500
--   maximum_rows     how many to remove at most, 1 to 100,000
-- Returns how many were removed; fewer than maximum_rows means that none are left for now.
-- Errors: 22023, a parameter is out of range.
-- The totals stay as they are. A workflow whose event was removed gets a new one when it uses the card again.
-- Several purges at once share the work.
create or replace function app.purge_card_usage(retention_days integer, maximum_rows integer default 1000)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _purged bigint;
begin
    perform app.check_parameter('retention_days', purge_card_usage.retention_days, 36500);
    perform app.check_parameter('maximum_rows', purge_card_usage.maximum_rows, 100000);

    with due as (
        select
            event.tenant_id,
            event.card_id,
            event.usage_id
        from app.card_usage as event
        where event.used_at <= now() - make_interval(days => purge_card_usage.retention_days)
        order by event.used_at
        limit purge_card_usage.maximum_rows
        for update skip locked
    )

    delete from app.card_usage as event
    using due
    where
        event.tenant_id = due.tenant_id
        and event.card_id = due.card_id
        and event.usage_id = due.usage_id;

    get diagnostics _purged = row_count;
    return _purged;
end;
$$;

comment on function app.purge_card_usage(integer, integer) is
$$Removes old usage events of all tenants, a bounded number per call.

Returns how many were removed; the totals stay. 22023: retention_days is not between 1 and 36,500, or maximum_rows not
between 1 and 100,000.$$;
alter function app.purge_card_usage(integer, integer) owner to cardbase_maintenance;
revoke all on function app.purge_card_usage(integer, integer) from public;
grant execute on function app.purge_card_usage(integer, integer) to cardbase_worker;
