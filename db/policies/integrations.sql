-- What the worker needs of a user's integration: its encrypted settings, to call the service that they lead to, and
-- where to record the outcome. The key is not in the database.
drop policy if exists "maintenance sees the integrations of the user it works for" on app.integrations;
create policy "maintenance sees the integrations of the user it works for" on app.integrations
to cardbase_maintenance
using (tenant_id = app.current_tenant_id() and user_id = app.current_user_id() and deleted_at is null);

grant
select (tenant_id, user_id, id, encrypted_settings, setting_names, last_synced_at, deleted_at),
update (last_synced_at, sync_error)
on table app.integrations to cardbase_maintenance;
