-- A user as the user sees it.
create or replace function app.user_document(profile app.users)
returns jsonb
language sql
stable
parallel safe
return jsonb_build_object(
    'id', (user_document.profile).user_id,
    'tenant_id', (user_document.profile).tenant_id,
    'email', (user_document.profile).email,
    'display_name', (user_document.profile).display_name,
    'avatar_url', (user_document.profile).avatar_url,
    'first_name', (user_document.profile).first_name,
    'last_name', (user_document.profile).last_name,
    'created_at', (user_document.profile).created_at,
    'updated_at', (user_document.profile).updated_at
);

comment on function app.user_document(app.users) is
$$A user as the user sees it: its row as one JSON object.$$;
revoke all on function app.user_document(app.users) from public;
grant execute on function app.user_document(app.users) to cardbase_api;
