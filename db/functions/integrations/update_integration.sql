-- Changes one of the caller's integrations.
--   tenant_id, user_id   the caller's tenant and user
--   id                   the integration
--   provider             the service, 1 to 100 characters
--   encrypted_settings   its settings and secrets, encrypted by the gateway
--   setting_names        the names of the settings
-- A null leaves the field as it was. Returns 200 with the integration.
-- Errors: PT401 unauthenticated, the caller is not a user; PT404 integration_not_found; PT422 validation_error.
create or replace function api.update_integration(
    tenant_id uuid,
    user_id uuid,
    id uuid,
    provider text default null,
    encrypted_settings bytea default null,
    setting_names text[] default null
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.set_caller(update_integration.tenant_id, update_integration.user_id);

    return app.update_resource(
        'integrations',
        update_integration.id,
        jsonb_build_object(
            'provider', update_integration.provider,
            'encrypted_settings', update_integration.encrypted_settings,
            'setting_names', update_integration.setting_names
        )
    );
end;
$$;

comment on function api.update_integration(uuid, uuid, uuid, text, bytea, text[]) is
$$Changes the given fields of an integration.

@internal
PT401: the caller is not a user. PT404: the caller has no such integration, or it was deleted. PT422: a field is
not valid.$$;
alter function api.update_integration(uuid, uuid, uuid, text, bytea, text[]) owner to cardbase_api;
revoke all on function api.update_integration(uuid, uuid, uuid, text, bytea, text[]) from public;
grant execute on function api.update_integration(uuid, uuid, uuid, text, bytea, text[])
to cardbase_gateway, cardbase_service;
