-- Gets one of the caller's integrations.
--   tenant_id, user_id   the caller's tenant and user
--   id                   the integration
-- Returns 200 with the integration.
-- Errors: PT401 unauthenticated, the caller is not a user; PT404 integration_not_found, for a deleted one, too.
create or replace function api.get_integration(tenant_id uuid, user_id uuid, id uuid)
returns api.reply
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.set_caller(get_integration.tenant_id, get_integration.user_id);

    return app.get_resource('integrations', get_integration.id);
end;
$$;

comment on function api.get_integration(uuid, uuid, uuid) is
$$Gets an integration.

PT401: the caller is not a user. PT404: the caller has no such integration, or it was deleted.$$;
alter function api.get_integration(uuid, uuid, uuid) owner to cardbase_api;
revoke all on function api.get_integration(uuid, uuid, uuid) from public;
grant execute on function api.get_integration(uuid, uuid, uuid) to cardbase_gateway, cardbase_service;
