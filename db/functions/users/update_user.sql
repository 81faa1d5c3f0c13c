-- Changes the caller's own profile.
--   tenant_id, user_id      the caller's tenant and user
--   display_name            what others see, 1 to 100 characters
--   avatar_url              begins with https:// or http://, at most 2,048 characters
--   first_name, last_name   1 to 100 characters
--   cleared_fields          fields to empty, of these four
-- A null leaves the field as it was. Returns 200 with the profile.
-- Errors: PT401 unauthenticated, the caller is not a user; PT404 user_not_found; PT422 validation_error.
create or replace function api.update_user(
    tenant_id uuid,
    user_id uuid,
    display_name text default null,
    avatar_url text default null,
    first_name text default null,
    last_name text default null,
    cleared_fields text[] default '{}'
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.set_caller(update_user.tenant_id, update_user.user_id);

    return app.update_resource(
        'users',
        update_user.user_id,
        jsonb_build_object(
            'display_name', update_user.display_name,
            'avatar_url', update_user.avatar_url,
            'first_name', update_user.first_name,
            'last_name', update_user.last_name
        ),
        update_user.cleared_fields,
        key => 'user_id'
    );
end;
$$;

comment on function api.update_user(uuid, uuid, text, text, text, text, text[]) is
$$Changes the given fields of the caller's own profile and empties those that cleared_fields names.

PT401: the caller is not a user. PT404: there is no profile. PT422: a field is not valid.$$;
alter function api.update_user(uuid, uuid, text, text, text, text, text[]) owner to cardbase_api;
revoke all on function api.update_user(uuid, uuid, text, text, text, text, text[]) from public;
grant execute on function api.update_user(uuid, uuid, text, text, text, text, text[])
to cardbase_gateway, cardbase_service;
