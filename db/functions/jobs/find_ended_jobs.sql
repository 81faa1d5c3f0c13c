-- Compares what a worker is running with what the ledger says, and settles both differences.
--   worker_id   the worker
--   jobs        [{"tenant_id", "id", "attempt"}]: the attempts that it is running, all of them
-- Returns the attempts that need not go on: their job was cancelled or has ended, or another attempt superseded them.
-- Jobs that the ledger says the worker is running, and that it is not, are pending again: the reply to app.take_jobs
-- was lost, or their outcome could not be recorded. Their attempt counts: after the last one they have failed. So a
-- worker must not call this while app.take_jobs is running.
-- A notification only tells a worker to ask. What it must stop is decided here, whoever sent the notification.
create or replace function app.find_ended_jobs(worker_id uuid, jobs jsonb)
returns table (tenant_id uuid, id uuid, attempt integer)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
as $$
begin
    perform app.finish_jobs(
        find_ended_jobs.worker_id,
        (
            select jsonb_agg(app.lost_outcome(job))
            from app.jobs as job
            where
                job.status = 'running'
                and job.worker_id = find_ended_jobs.worker_id
                and not exists (
                    select
                    from jsonb_to_recordset(find_ended_jobs.jobs) as given (tenant_id uuid, id uuid, attempt integer)
                    where
                        given.tenant_id = job.tenant_id
                        and given.id = job.id
                        and given.attempt = job.attempts
                )
        )
    );

    return query
    select
        given.tenant_id,
        given.id,
        given.attempt
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
        );
end;
$$;

comment on function app.find_ended_jobs(uuid, jsonb) is
$$Finds attempts that need not go on: their jobs were cancelled, have ended, or were begun again.

Jobs that the ledger says the worker is running, and that it is not, are pending again.$$;
alter function app.find_ended_jobs(uuid, jsonb) owner to cardbase_dispatcher;
revoke all on function app.find_ended_jobs(uuid, jsonb) from public;
grant execute on function app.find_ended_jobs(uuid, jsonb) to cardbase_worker;
