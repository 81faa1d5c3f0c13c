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
    if purge_card_usage.retention_days between 1 and 36500 is not true then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = 'retention_days is out of range',
            detail = format('Expected 1 to 36,500, got %s.', purge_card_usage.retention_days),
            hint = 'Keep events for a day at least; to keep them for ever, do not purge them.';
    end if;
    perform app.check_maximum_rows(purge_card_usage.maximum_rows);

    with outdated as (
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
    using outdated
    where
        event.tenant_id = outdated.tenant_id
        and event.card_id = outdated.card_id
        and event.usage_id = outdated.usage_id;

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
