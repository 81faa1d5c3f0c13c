-- Records how attempts at jobs ended, of any tenants, and takes the jobs from the queue or puts them back.
--   worker_id   the worker whose attempts they were
--   outcomes    [{"tenant_id", "id", "attempt", "status", "result", "error", "seconds"}]; status is one of
--               completed   with its result
--               failed      for good, with its error
--               retried     failed with its error; another attempt follows after `seconds`
--               returned    it was given back unfinished and doesn't count; another one follows at once, elsewhere
-- Returns the ids of the jobs for which this was recorded. Nothing is recorded for the others: they were cancelled, or
-- an attempt of another worker superseded theirs.
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
as $$
declare
    _ids uuid[];
    _is_put_back boolean;
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
            outcome.seconds
        from outcome
        inner join app.jobs as job
            on
                job.tenant_id = outcome.tenant_id
                and job.id = outcome.id
        where
            job.status = 'running'
            and job.attempts = outcome.attempt
            and job.worker_id = finish_jobs.worker_id
        order by job.tenant_id, job.id
        for update of job
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
            job.id,
            job.queue_id,
            current.is_ended,
            current.seconds
    ),

    removed as (
        delete from queue.pgqueuer as queued
        using finished
        where
            queued.id = finished.queue_id
            and finished.is_ended
    ),

    put_back as (
        update queue.pgqueuer as queued
        set
            status = 'queued',
            queue_manager_id = null,
            attempts = queued.attempts + 1,
            execute_after = now() + make_interval(secs => finished.seconds),
            updated = now()
        from finished
        where
            queued.id = finished.queue_id
            and not finished.is_ended
    )

    select
        array_agg(finished.id),
        not bool_and(finished.is_ended)
    into _ids, _is_put_back
    from finished;

    -- PgQueuer's trigger announces what is added, not what is put back: a sleeping worker would learn of it late.
    if _is_put_back then
        perform pg_notify(
            'cardbase_jobs',
            jsonb_build_object(
                'type', 'table_changed_event',
                'channel', 'cardbase_jobs',
                'sent_at', now(),
                'operation', 'update',
                'table', 'pgqueuer'
            )::text
        );
    end if;

    return query
    select finished.id
    from unnest(_ids) as finished (id);
end;
$$;

comment on function app.finish_jobs(uuid, jsonb) is
$$Records how attempts at jobs ended, and takes the jobs from the queue or puts them back.

Returns the ids of the jobs for which this was recorded, not of those that were cancelled or begun again meanwhile.$$;
alter function app.finish_jobs(uuid, jsonb) owner to cardbase_dispatcher;
revoke all on function app.finish_jobs(uuid, jsonb) from public;
grant execute on function app.finish_jobs(uuid, jsonb) to cardbase_worker;
