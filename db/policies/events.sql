alter table app.events enable row level security;
alter table app.events force row level security;

-- A user's events are nobody else's. They are read for several listeners at a time. Written without "or", which would
-- hide from the doctor what it looks for.
drop policy if exists "users see their own events and those for all" on app.events;
create policy "users see their own events and those for all" on app.events
to cardbase_api
using (
    tenant_id = app.current_tenant_id()
    and coalesce(user_id = any(app.current_listener_ids()), user_id is null)
)
with check (tenant_id = app.current_tenant_id());

drop policy if exists "the dispatcher records what becomes of jobs" on app.events;
create policy "the dispatcher records what becomes of jobs" on app.events
for insert
to cardbase_dispatcher
with check (tenant_id = app.current_tenant_id());

-- Maintenance works across tenants, and the policy shows it nothing that any retention could keep.
drop policy if exists "maintenance sees what is older than a minute" on app.events;
create policy "maintenance sees what is older than a minute" on app.events
to cardbase_maintenance
using (created_at <= now() - interval '1 minute');

revoke all on table app.events from public;
grant select, insert on table app.events to cardbase_api;
grant insert on table app.events to cardbase_dispatcher;
-- "for update skip locked" needs the right to update one column.
grant select (tenant_id, transaction_id, event_id, created_at), update (created_at), delete
on table app.events to cardbase_maintenance;

alter table app.event_subscriptions enable row level security;
alter table app.event_subscriptions force row level security;

drop policy if exists "a tenant's subscription is its own" on app.event_subscriptions;
create policy "a tenant's subscription is its own" on app.event_subscriptions
to cardbase_api, cardbase_dispatcher
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id());

-- For one tenant at a time: removing its events moves its horizon.
drop policy if exists "maintenance moves a tenant's horizon" on app.event_subscriptions;
create policy "maintenance moves a tenant's horizon" on app.event_subscriptions
to cardbase_maintenance
using (tenant_id = app.current_tenant_id());

drop policy if exists "maintenance sees what has expired" on app.event_subscriptions;
create policy "maintenance sees what has expired" on app.event_subscriptions
to cardbase_maintenance
using (expires_at <= now());

revoke all on table app.event_subscriptions from public;
grant select, insert, update on table app.event_subscriptions to cardbase_api;
grant select (tenant_id, expires_at) on table app.event_subscriptions to cardbase_dispatcher;
grant select, update (horizon_transaction_id, horizon_event_id), delete
on table app.event_subscriptions to cardbase_maintenance;
