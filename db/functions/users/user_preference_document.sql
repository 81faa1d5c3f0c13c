-- A user's preferences as the user sees them.
create or replace function app.user_preference_document(preference app.user_preferences)
returns jsonb
language sql
stable
parallel safe
return jsonb_build_object(
    'theme', (user_preference_document.preference).theme,
    'language', (user_preference_document.preference).language,
    'email_notifications', (user_preference_document.preference).email_notifications,
    'push_notifications', (user_preference_document.preference).push_notifications
);

comment on function app.user_preference_document(app.user_preferences) is
$$A user's preferences as the user sees them: its row as one JSON object.$$;
revoke all on function app.user_preference_document(app.user_preferences) from public;
grant execute on function app.user_preference_document(app.user_preferences) to cardbase_api;
