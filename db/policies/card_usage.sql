alter table app.card_usage enable row level security;
alter table app.card_usage force row level security;

drop policy if exists "a tenant's usage events are its own" on app.card_usage;
create policy "a tenant's usage events are its own" on app.card_usage
to cardbase_api
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id());

-- Maintenance works across tenants, and the policy shows it nothing that any retention could keep.
drop policy if exists "maintenance sees what is older than a day" on app.card_usage;
create policy "maintenance sees what is older than a day" on app.card_usage
to cardbase_maintenance
using (used_at <= now() - interval '1 day');

revoke all on table app.card_usage from public;
grant select, insert on table app.card_usage to cardbase_api;
-- "for update skip locked" needs the right to update one column.
grant select (tenant_id, card_id, usage_id, used_at), update (used_at), delete
on table app.card_usage to cardbase_maintenance;
