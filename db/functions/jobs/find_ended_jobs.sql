-- Finds attempts at jobs that need not go on: the job was cancelled or has ended, or another attempt superseded this.
--   worker_id   the worker whose attempts they are
--   jobs        [{"tenant_id", "id", "attempt"}]: what it is running
-- Returns the tenant and the id of those.
-- A notification only tells a worker to ask. What it must stop is decided here, whoever sent the notification.
create or replace function app.find_ended_jobs(worker_id uuid, jobs jsonb)
returns table (tenant_id uuid, id uuid)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
as $$
    select
        given.tenant_id,
        given.id
    from jsonb_to_recordset(find_ended_jobs.jobs) as given (tenant_id uuid, id uuid, attempt integer)
    where
        not exists (
            select
            from app.jobs as job
            where
                job.tenant_id = given.tenant_id
                and job.id = given.id
                and job.status = 'running'
                and job.attempts = given.attempt
                and job.worker_id = find_ended_jobs.worker_id
        )
$$;

comment on function app.find_ended_jobs(uuid, jsonb) is
$$Finds attempts at jobs that need not go on: their jobs were cancelled, have ended, or were begun again.$$;
alter function app.find_ended_jobs(uuid, jsonb) owner to cardbase_dispatcher;
revoke all on function app.find_ended_jobs(uuid, jsonb) from public;
grant execute on function app.find_ended_jobs(uuid, jsonb) to cardbase_worker;
