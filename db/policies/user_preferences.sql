-- In addition to db/policies/user_owned.sql: what a worker has to know before it notifies a user.
drop policy if exists "maintenance sees the preferences of the user it works for" on app.user_preferences;
create policy "maintenance sees the preferences of the user it works for" on app.user_preferences
for select
to cardbase_maintenance
using (tenant_id = app.current_tenant_id() and user_id = app.current_user_id());

grant select (
    tenant_id, user_id, push_notifications, email_notifications
) on table app.user_preferences to cardbase_maintenance;
