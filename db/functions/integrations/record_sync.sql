-- Records the outcome of a call to the service of a user's integration, for its owner to see.
--   tenant_id, user_id   whose integration it is
--   id                   the integration
--   error                why it failed, 1 to 1,000 characters; null: it succeeded
-- Returns whether there is such an integration. A failure leaves the time of the last success as it was. updated_at
-- never changes here: it says when the owner changed something.
-- Errors: 23514, error is too long or empty.
create or replace function app.record_sync(tenant_id uuid, user_id uuid, id uuid, error text default null)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform
        set_config('app.current_tenant_id', record_sync.tenant_id::text, true),
        set_config('app.current_user_id', record_sync.user_id::text, true);

    update app.integrations as integration
    set
        last_synced_at = case when record_sync.error is null then clock_timestamp() else integration.last_synced_at end,
        sync_error = record_sync.error
    where
        integration.tenant_id = record_sync.tenant_id
        and integration.user_id = record_sync.user_id
        and integration.id = record_sync.id
        and integration.deleted_at is null;

    return found;
end;
$$;

comment on function app.record_sync(uuid, uuid, uuid, text) is
$$Records the outcome of a call to the service of an integration; returns whether there is such an integration.

23514: error is too long or empty.$$;
alter function app.record_sync(uuid, uuid, uuid, text) owner to cardbase_maintenance;
revoke all on function app.record_sync(uuid, uuid, uuid, text) from public;
grant execute on function app.record_sync(uuid, uuid, uuid, text) to cardbase_worker;
