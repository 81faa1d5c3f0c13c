alter table app.idempotency_store enable row level security;
alter table app.idempotency_store force row level security;

drop policy if exists "a tenant's idempotency keys are its own" on app.idempotency_store;
create policy "a tenant's idempotency keys are its own" on app.idempotency_store
to cardbase_api
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id());

-- Maintenance works across tenants, and the policy shows it nothing but what has expired.
drop policy if exists "maintenance sees what has expired" on app.idempotency_store;
create policy "maintenance sees what has expired" on app.idempotency_store
to cardbase_maintenance
using (expires_at <= now());

revoke all on table app.idempotency_store from public;
grant select, insert, update on table app.idempotency_store to cardbase_api;
-- "for update skip locked" needs the right to update one column.
grant select (tenant_id, owner_id, idempotency_key, expires_at), update (expires_at), delete
on table app.idempotency_store to cardbase_maintenance;
