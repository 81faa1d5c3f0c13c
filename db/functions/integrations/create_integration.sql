-- Creates an integration for the caller.
--   tenant_id, user_id   the caller's tenant and user
--   provider             the service, 1 to 100 characters
--   encrypted_settings   its settings and secrets, encrypted by the gateway
--   setting_names        the names of the settings
-- Returns 201 with the integration.
-- Errors: PT401 unauthenticated, the caller is not a user; PT422 validation_error.
create or replace function api.create_integration(
    tenant_id uuid,
    user_id uuid,
    provider text,
    encrypted_settings bytea,
    setting_names text[]
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.set_caller(create_integration.tenant_id, create_integration.user_id);

    return app.create_resource(
        'integrations',
        jsonb_build_object(
            'provider', create_integration.provider,
            'encrypted_settings', create_integration.encrypted_settings,
            'setting_names', create_integration.setting_names
        )
    );
end;
$$;

comment on function api.create_integration(uuid, uuid, text, bytea, text[]) is
$$Creates an integration.

@internal
The gateway encrypts the settings with a key that the database does not have.

PT401: the caller is not a user. PT422: a field is not valid.$$;
alter function api.create_integration(uuid, uuid, text, bytea, text[]) owner to cardbase_api;
revoke all on function api.create_integration(uuid, uuid, text, bytea, text[]) from public;
grant execute on function api.create_integration(uuid, uuid, text, bytea, text[])
to cardbase_gateway, cardbase_service;
