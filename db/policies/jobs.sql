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
grant select, insert, update (last_seen_at, expires_at), delete on table app.workers to cardbase_dispatcher;

-- PgQueuer's tables: they hold no more of a job than its kind, its priority and its ids.
grant insert, select (id), delete on table queue.pgqueuer to cardbase_api;
grant select, update, delete on table queue.pgqueuer to cardbase_dispatcher;
grant select (status, priority, execute_after) on table queue.pgqueuer to cardbase_maintenance;
grant select, update on table queue.pgqueuer to cardbase_worker;
grant usage on sequence queue.pgqueuer_id_seq to cardbase_api;
grant select, insert, update on table queue.pgqueuer_schedules to cardbase_worker;
grant usage on sequence queue.pgqueuer_schedules_id_seq to cardbase_worker;
-- It checks that these exist. They stay empty: app.jobs is the log.
grant select, insert on table queue.pgqueuer_log to cardbase_worker;
grant select on table queue.pgqueuer_statistics to cardbase_worker;
create or replace trigger discard_row before insert on queue.pgqueuer_log
for each row execute function app.discard_row();
