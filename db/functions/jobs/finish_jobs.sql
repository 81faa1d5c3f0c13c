-- Records how attempts at jobs ended, of any tenants; jobs that have not ended become pending again.
--   worker_id   the worker whose attempts they were
--   outcomes    [{"tenant_id", "id", "attempt", "status", "result", "error", "seconds"}]; status is one of
--               completed   with its result
--               failed      for good, with its error
--               retried     failed with its error; another attempt follows after `seconds`, 0: at once
--               returned    it was given back unfinished and doesn't count; another one follows at once, elsewhere
-- Returns the ids of the jobs for which this was recorded. Nothing is recorded for the others: they were cancelled, or
-- an attempt of another worker superseded theirs, or somebody has the job locked, perhaps to cancel it, in a
-- transaction whose end the other outcomes don't wait for. If such a job is not cancelled then, app.find_ended_jobs
-- gives it back.
--
-- Workers are woken where there may be something for them to do: a job is pending again, or its tenant has others
-- pending, and was perhaps at its bound. Jobs are locked in the order of their keys, so that no two calls deadlock.
create or replace function app.finish_jobs(worker_id uuid, outcomes jsonb)
returns table (id uuid)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
set jit = off
as $$
declare
    _ids uuid[];
    _has_more boolean;
    -- As a constant in the statement it would make the index jobs_running fit, which is slower than the primary key.
    _running constant text := 'running';
begin
    with outcome as materialized (
        select given.*
        from jsonb_to_recordset(finish_jobs.outcomes) as given (
            tenant_id uuid,
            id uuid,
            attempt integer,
            status text,
            result jsonb,
            error text,
            seconds double precision
        )
    ),

    current as materialized (
        select
            outcome.tenant_id,
            outcome.id,
            outcome.status,
            outcome.status in ('completed', 'failed') as is_ended,
            nullif(outcome.result, 'null') as result,
            outcome.error,
            case outcome.status when 'retried' then greatest(outcome.seconds, 0) else 0 end as seconds
        from outcome
        inner join app.jobs as job
            on
                job.tenant_id = outcome.tenant_id
                and job.id = outcome.id
        where
            job.status = _running
            and job.attempts = outcome.attempt
            and job.worker_id = finish_jobs.worker_id
        order by job.tenant_id, job.id
        for update of job skip locked
    ),

    finished as (
        update app.jobs as job
        set
            status = case when current.is_ended then current.status else 'pending' end,
            result = current.result,
            error = case when current.status = 'returned' then job.error else current.error end,
            attempts = job.attempts - case when current.status = 'returned' then 1 else 0 end,
            completed_at = case when current.is_ended then clock_timestamp() end
        from current
        where
            job.tenant_id = current.tenant_id
            and job.id = current.id
        returning
            job.tenant_id,
            job.id,
            job.queue,
            job.kind,
            current.is_ended,
            current.seconds
    ),

    put_back as (
        insert into app.pending_jobs (tenant_id, id, priority, kind, run_at, is_ready)
        select
            finished.tenant_id,
            finished.id,
            (app.job_queues() ->> finished.queue)::smallint,
            finished.kind,
            clock_timestamp() + make_interval(secs => finished.seconds),
            finished.seconds = 0
        from finished
        where not finished.is_ended
    )

    select
        array_agg(finished.id),
        (
            select
                bool_or(
                    exists (
                        select
                        from app.pending_jobs as pending
                        where pending.tenant_id = tenant.tenant_id
                    )
                )
            from (
                select distinct finished.tenant_id
                from finished
            ) as tenant
        )
        or not bool_and(finished.is_ended)
    into _ids, _has_more
    from finished;

    if _has_more then
        perform pg_notify('cardbase_jobs', '');
    end if;

    return query
    select finished.id
    from unnest(_ids) as finished (id);
end;
$$;

comment on function app.finish_jobs(uuid, jsonb) is
$$Records how attempts at jobs ended; jobs that have not ended become pending again.

Returns the ids of the jobs for which this was recorded, not of those that were cancelled or begun again meanwhile.$$;
alter function app.finish_jobs(uuid, jsonb) owner to cardbase_dispatcher;
revoke all on function app.finish_jobs(uuid, jsonb) from public;
grant execute on function app.finish_jobs(uuid, jsonb) to cardbase_worker;
