-- Gets the caller's own profile.
--   tenant_id, user_id   the caller's tenant and user
-- Returns 200 with the profile.
-- Errors: PT401 unauthenticated, the caller is not a user; PT404 user_not_found, such as for a user who signs in
-- elsewhere.
create or replace function api.get_user(tenant_id uuid, user_id uuid)
returns api.reply
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.set_caller(get_user.tenant_id, get_user.user_id);

    return app.get_resource('users', get_user.user_id, 'user_id');
end;
$$;

comment on function api.get_user(uuid, uuid) is
$$Gets the caller's own profile.

PT401: the caller is not a user. PT404: there is no profile, such as for a user who signs in elsewhere.$$;
alter function api.get_user(uuid, uuid) owner to cardbase_api;
revoke all on function api.get_user(uuid, uuid) from public;
grant execute on function api.get_user(uuid, uuid) to cardbase_gateway, cardbase_service;
