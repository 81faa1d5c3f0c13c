-- Removes expired idempotency keys of all tenants, a bounded number per call.
--   maximum_rows   how many to remove at most, 1 to 100,000
-- Returns how many were removed; fewer than maximum_rows means that none are left for now.
-- Errors: 22023, maximum_rows is out of range.
-- Rows that a request is renewing are skipped, not waited for. Several purges at once share the work.
create or replace function app.purge_idempotency_store(maximum_rows integer default 1000)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _purged bigint;
begin
    perform app.check_parameter('maximum_rows', purge_idempotency_store.maximum_rows, 100000);

    with due as (
        select
            stored.tenant_id,
            stored.owner_id,
            stored.idempotency_key
        from app.idempotency_store as stored
        where stored.expires_at <= now()
        order by stored.expires_at
        limit purge_idempotency_store.maximum_rows
        for update skip locked
    )

    delete from app.idempotency_store as stored
    using due
    where
        stored.tenant_id = due.tenant_id
        and stored.owner_id = due.owner_id
        and stored.idempotency_key = due.idempotency_key;

    get diagnostics _purged = row_count;
    return _purged;
end;
$$;

comment on function app.purge_idempotency_store(integer) is
$$Removes expired idempotency keys of all tenants, a bounded number per call.

Returns how many were removed. 22023: maximum_rows is not between 1 and 100,000.$$;
alter function app.purge_idempotency_store(integer) owner to cardbase_maintenance;
revoke all on function app.purge_idempotency_store(integer) from public;
grant execute on function app.purge_idempotency_store(integer) to cardbase_worker;
