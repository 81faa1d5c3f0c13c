-- The settings of a user's integration as the gateway encrypted them, for a worker, which has the key.
--   tenant_id, user_id   whose integration it is
--   id                   the integration
-- Returns null when the user has no such integration, or it was deleted.
create or replace function app.get_encrypted_settings(tenant_id uuid, user_id uuid, id uuid)
returns bytea
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform
        set_config('app.current_tenant_id', get_encrypted_settings.tenant_id::text, true),
        set_config('app.current_user_id', get_encrypted_settings.user_id::text, true);

    return (
        select integration.encrypted_settings
        from app.integrations as integration
        where
            integration.tenant_id = get_encrypted_settings.tenant_id
            and integration.user_id = get_encrypted_settings.user_id
            and integration.id = get_encrypted_settings.id
            and integration.deleted_at is null
    );
end;
$$;

comment on function app.get_encrypted_settings(uuid, uuid, uuid) is
$$The settings of an integration as the gateway encrypted them; null when there is none.$$;
alter function app.get_encrypted_settings(uuid, uuid, uuid) owner to cardbase_maintenance;
revoke all on function app.get_encrypted_settings(uuid, uuid, uuid) from public;
grant execute on function app.get_encrypted_settings(uuid, uuid, uuid) to cardbase_worker;
