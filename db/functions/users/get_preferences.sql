-- Gets the caller's preferences; before they were ever changed, the defaults.
--   tenant_id, user_id   the caller's tenant and user
-- Returns 200 {theme, language, email_notifications, push_notifications}.
-- Errors: PT401 unauthenticated, the caller is not a user.
create or replace function api.get_preferences(tenant_id uuid, user_id uuid)
returns api.reply
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _document jsonb;
begin
    perform app.set_caller(get_preferences.tenant_id, get_preferences.user_id);

    select app.user_preference_document(preference)
    into _document
    from app.user_preferences as preference
    where
        preference.tenant_id = get_preferences.tenant_id
        and preference.user_id = get_preferences.user_id;

    return app.success(
        200,
        coalesce(
            _document,
            jsonb_build_object(
                'theme', 'system', 'language', 'en', 'email_notifications', true, 'push_notifications', true
            )
        )
    );
end;
$$;

comment on function api.get_preferences(uuid, uuid) is
$$Gets the caller's preferences; before they were ever changed, the defaults.

PT401: the caller is not a user.$$;
alter function api.get_preferences(uuid, uuid) owner to cardbase_api;
revoke all on function api.get_preferences(uuid, uuid) from public;
grant execute on function api.get_preferences(uuid, uuid) to cardbase_gateway, cardbase_service;
