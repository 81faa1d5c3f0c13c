alter table app.jobs enable row level security;
alter table app.jobs force row level security;

drop policy if exists "a job is a user's own, or its tenant's" on app.jobs;
create policy "a job is a user's own, or its tenant's" on app.jobs
to cardbase_api
using (tenant_id = app.current_tenant_id() and coalesce(user_id = app.current_user_id(), user_id is null))
with check (tenant_id = app.current_tenant_id() and coalesce(user_id = app.current_user_id(), user_id is null));

-- Workers take jobs as they come, of any tenant.
drop policy if exists "the dispatcher hands out all jobs" on app.jobs;
create policy "the dispatcher hands out all jobs" on app.jobs
to cardbase_dispatcher
using (true)
with check (true);

-- Maintenance works across tenants, and the policy shows it nothing but what ended a while ago.
drop policy if exists "maintenance sees what ended an hour ago" on app.jobs;
create policy "maintenance sees what ended an hour ago" on app.jobs
to cardbase_maintenance
using (completed_at <= now() - interval '1 hour');

revoke all on table app.jobs from public;
grant select, insert, update on table app.jobs to cardbase_api;
grant
select,
update (status, result, error, attempts, worker_id, started_at, completed_at)
on table app.jobs to cardbase_dispatcher;
-- "for update skip locked" needs the right to update one column.
grant select (tenant_id, id, completed_at), update (completed_at), delete on table app.jobs to cardbase_maintenance;

alter table app.workers enable row level security;
alter table app.workers force row level security;

drop policy if exists "the dispatcher knows the workers" on app.workers;
create policy "the dispatcher knows the workers" on app.workers
to cardbase_dispatcher
using (true)
with check (true);

revoke all on table app.workers from public;
grant
select,
insert,
update (last_seen_at, alive_since, expires_at, slots, queues),
delete
on table app.workers to cardbase_dispatcher;

alter table app.pending_jobs enable row level security;
alter table app.pending_jobs force row level security;

-- It shows no more of a job than its kind: a tenant's users may count what others have pending.
drop policy if exists "a tenant's pending jobs are its own" on app.pending_jobs;
create policy "a tenant's pending jobs are its own" on app.pending_jobs
to cardbase_api
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id());

drop policy if exists "the dispatcher hands out all pending jobs" on app.pending_jobs;
create policy "the dispatcher hands out all pending jobs" on app.pending_jobs
to cardbase_dispatcher
using (true)
with check (true);

drop policy if exists "maintenance measures what is pending" on app.pending_jobs;
create policy "maintenance measures what is pending" on app.pending_jobs
for select
to cardbase_maintenance
using (true);

revoke all on table app.pending_jobs from public;
grant select (tenant_id, id), insert, delete on table app.pending_jobs to cardbase_api;
grant select, insert, update (is_ready), delete on table app.pending_jobs to cardbase_dispatcher;
grant select (priority, run_at) on table app.pending_jobs to cardbase_maintenance;

alter table app.dispatch_turn enable row level security;
alter table app.dispatch_turn force row level security;

drop policy if exists "the dispatcher takes turns" on app.dispatch_turn;
create policy "the dispatcher takes turns" on app.dispatch_turn
to cardbase_dispatcher
using (true)
with check (true);

revoke all on table app.dispatch_turn from public;
-- "for update" needs the right to update one column.
grant select, update (tenant_id) on table app.dispatch_turn to cardbase_dispatcher;

alter table app.schedules enable row level security;
alter table app.schedules force row level security;

drop policy if exists "the dispatcher keeps the schedules" on app.schedules;
create policy "the dispatcher keeps the schedules" on app.schedules
to cardbase_dispatcher
using (true)
with check (true);

revoke all on table app.schedules from public;
grant select, insert, update (last_run_at) on table app.schedules to cardbase_dispatcher;
