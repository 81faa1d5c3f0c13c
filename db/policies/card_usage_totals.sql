alter table app.card_usage_totals enable row level security;
alter table app.card_usage_totals force row level security;

drop policy if exists "a tenant's usage totals are its own" on app.card_usage_totals;
create policy "a tenant's usage totals are its own" on app.card_usage_totals
to cardbase_api
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id());

revoke all on table app.card_usage_totals from public;
grant select, insert, update on table app.card_usage_totals to cardbase_api;
