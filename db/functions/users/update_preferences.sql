-- Changes the caller's preferences.
--   tenant_id, user_id     the caller's tenant and user
--   theme                  light, dark or system
--   language               a language tag such as en or pt-BR
--   email_notifications    whether to notify by email
--   push_notifications     whether to notify on the user's devices
-- A null leaves the field as it was. Returns 200 with all preferences.
-- Errors: PT401 unauthenticated, the caller is not a user; PT422 validation_error.
create or replace function api.update_preferences(
    tenant_id uuid,
    user_id uuid,
    theme text default null,
    language text default null,
    email_notifications boolean default null,
    push_notifications boolean default null
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.set_caller(update_preferences.tenant_id, update_preferences.user_id);

    insert into app.user_preferences as preference (tenant_id, user_id)
    values (update_preferences.tenant_id, update_preferences.user_id)
    on conflict on constraint user_preferences_pkey do nothing;

    return app.update_resource(
        'user_preferences',
        update_preferences.user_id,
        jsonb_build_object(
            'theme', update_preferences.theme,
            'language', update_preferences.language,
            'email_notifications', update_preferences.email_notifications,
            'push_notifications', update_preferences.push_notifications
        ),
        key => 'user_id'
    );
end;
$$;

comment on function api.update_preferences(uuid, uuid, text, text, boolean, boolean) is
$$Changes the given preferences, and returns all of the caller's.

PT401: the caller is not a user. PT422: a field is not valid.$$;
alter function api.update_preferences(uuid, uuid, text, text, boolean, boolean) owner to cardbase_api;
revoke all on function api.update_preferences(uuid, uuid, text, text, boolean, boolean) from public;
grant execute on function api.update_preferences(uuid, uuid, text, text, boolean, boolean)
to cardbase_gateway, cardbase_service;
