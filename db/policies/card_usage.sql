alter table app.card_usage enable row level security;
alter table app.card_usage force row level security;

drop policy if exists "a tenant's usage events are its own" on app.card_usage;
create policy "a tenant's usage events are its own" on app.card_usage
to cardbase_api
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id());

revoke all on table app.card_usage from public;
grant select, insert on table app.card_usage to cardbase_api;
