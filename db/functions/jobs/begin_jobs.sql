-- Begins the next attempt of jobs that a worker has picked from the queue, of any tenants.
--   worker_id   the worker
--   queue_ids   the rows of PgQueuer's table that it has picked
-- Returns the jobs that the worker has to carry out. It must let go of the others: those that have ended, whose rows
-- are removed from the queue here, and those that another live worker is running.
-- An attempt belongs to one worker: app.finish_jobs ignores outcomes of any attempt but the last.
create or replace function app.begin_jobs(worker_id uuid, queue_ids bigint[])
returns table (
    queue_id bigint,
    tenant_id uuid,
    user_id uuid,
    id uuid,
    kind text,
    arguments jsonb,
    attempt integer,
    maximum_attempts integer
)
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
    return query
    with picked as materialized (
        select
            queued.id as queue_id,
            encode(substr(queued.payload, 1, 16), 'hex')::uuid as tenant_id,
            encode(substr(queued.payload, 17), 'hex')::uuid as id
        from queue.pgqueuer as queued
        where queued.id = any(begin_jobs.queue_ids)
    ),

    startable as materialized (
        select
            job.tenant_id,
            job.id
        from picked
        inner join app.jobs as job
            on
                job.tenant_id = picked.tenant_id
                and job.id = picked.id
        where
            job.status = 'pending'
            or (
                job.status = 'running'
                and not exists (
                    select
                    from app.workers as worker
                    where
                        worker.tenant_id = '00000000-0000-0000-0000-000000000000'
                        and worker.worker_id = job.worker_id
                        and worker.worker_id <> begin_jobs.worker_id
                        and worker.expires_at > clock_timestamp()
                )
            )
        order by job.tenant_id, job.id
        for update of job
    ),

    begun as (
        update app.jobs as job
        set
            status = 'running',
            attempts = job.attempts + 1,
            worker_id = begin_jobs.worker_id,
            started_at = clock_timestamp()
        from startable
        where
            job.tenant_id = startable.tenant_id
            and job.id = startable.id
        returning
            job.queue_id,
            job.tenant_id,
            job.user_id,
            job.id,
            job.kind,
            job.arguments,
            job.attempts,
            job.maximum_attempts
    ),

    removed as (
        delete from queue.pgqueuer as queued
        using picked
        where
            queued.id = picked.queue_id
            and not exists (
                select
                from app.jobs as job
                where
                    job.tenant_id = picked.tenant_id
                    and job.id = picked.id
                    and job.status in ('pending', 'running')
            )
    )

    select
        begun.queue_id,
        begun.tenant_id,
        begun.user_id,
        begun.id,
        begun.kind,
        begun.arguments,
        begun.attempts,
        begun.maximum_attempts
    from begun;
end;
$$;

comment on function app.begin_jobs(uuid, bigint[]) is
$$Begins the next attempt of jobs that a worker has picked from the queue.

Returns those that the worker has to carry out.$$;
alter function app.begin_jobs(uuid, bigint[]) owner to cardbase_dispatcher;
revoke all on function app.begin_jobs(uuid, bigint[]) from public;
grant execute on function app.begin_jobs(uuid, bigint[]) to cardbase_worker;
