-- Gives a worker jobs to run: of the tenants in turn, of each tenant by priority, then in the order they were enqueued.
--   worker_id         the worker
--   maximum           how many jobs at most, 1 to 10,000: the worker's free slots
--   queues            the queues that it takes jobs from: high, default, low
--   kinds             the kinds of jobs that it knows
--   after_tenant_id   the tenant after which the turn begins: that of the last row of the call before; null: the first
--   tenant_running    how many jobs of one tenant may run at once over all workers; null: half of all live workers'
--                     slots, at least 1
-- Returns the jobs, now running, in the order of the tenants' turn. Every tenant found with ready jobs gets the same
-- share of maximum, so that fewer may be returned than there are: a worker that has free slots calls again until
-- nothing is returned.
-- Errors: 22023, a parameter is out of range.
--
-- An attempt belongs to one worker: app.finish_jobs ignores outcomes of any attempt but the last.
-- Calls run one after the other, so that tenant_running holds exactly: each counts what all others have taken. While a
-- call runs it waits for nobody: rows that a cancellation has locked are skipped.
-- Equality is written as a range, and the order with all columns, so that only the index pending_jobs_ready fits:
-- where all jobs have one priority the planner would as soon read all that a tenant has pending, by the primary key.
-- Reads no more tenants than maximum plus those that are at tenant_running, and no more jobs than it takes, plus those
-- of kinds that the worker doesn't know.
create or replace function app.take_jobs(
    worker_id uuid,
    maximum integer,
    queues text[],
    kinds text[],
    after_tenant_id uuid default null,
    tenant_running integer default null
)
returns table (
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
set jit = off
as $$
declare
    _priorities constant smallint[] := array(
        select known.priority::smallint
        from jsonb_each_text(app.job_queues()) as known (queue, priority)
        where known.queue = any(take_jobs.queues)
    );
    _tenant_running integer;
begin
    if (take_jobs.maximum between 1 and 10000) is not true or take_jobs.tenant_running < 1 then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = 'maximum or tenant_running is out of range',
            detail = format(
                'Expected 1 to 10,000 and at least 1, got %s and %s.',
                coalesce(take_jobs.maximum::text, 'nothing'),
                coalesce(take_jobs.tenant_running::text, 'nothing')
            ),
            hint = 'Take no more jobs than there are free slots.';
    end if;

    perform app.promote_jobs();

    -- Most calls find nothing: they need no turn.
    perform
    from unnest(_priorities) as wanted (priority)
    where
        exists (
            select
            from app.pending_jobs as pending
            where
                pending.is_ready
                and pending.priority between wanted.priority and wanted.priority
            order by pending.priority, pending.tenant_id
            limit 1
        );
    if not found then
        return;
    end if;

    -- The next statement sees what those that had their turn before have committed.
    perform
    from app.dispatch_turn
    for no key update;

    _tenant_running := coalesce(
        take_jobs.tenant_running,
        (
            select greatest(sum(worker.slots) / 2, 1)::integer
            from app.workers as worker
            where
                worker.tenant_id = '00000000-0000-0000-0000-000000000000'
                and worker.expires_at > clock_timestamp()
        )
    );

    return query
    with recursive
    -- Each step finds the next tenant that has ready jobs, after the last tenant the first one, and goes round once.
    turn (number, tenant_id, has_wrapped) as (
        select
            0,
            take_jobs.after_tenant_id,
            false
        union all
        select
            turn.number + 1,
            step.tenant_id,
            step.has_wrapped
        from turn
        cross join lateral (
            (
                select
                    later.tenant_id,
                    turn.has_wrapped
                from unnest(_priorities) as wanted (priority)
                cross join lateral (
                    select pending.tenant_id
                    from app.pending_jobs as pending
                    where
                        pending.is_ready
                        and (pending.priority, pending.tenant_id) > (wanted.priority, turn.tenant_id)
                        and pending.priority <= wanted.priority
                    order by pending.priority, pending.tenant_id
                    limit 1
                ) as later
                order by later.tenant_id
                limit 1
            )
            union all
            (
                select
                    first.tenant_id,
                    true
                from unnest(_priorities) as wanted (priority)
                cross join lateral (
                    select pending.tenant_id
                    from app.pending_jobs as pending
                    where
                        pending.is_ready
                        and pending.priority between wanted.priority and wanted.priority
                    order by pending.priority, pending.tenant_id
                    limit 1
                ) as first
                where not turn.has_wrapped
                order by first.tenant_id
                limit 1
            )
            limit 1
        ) as step
        where not step.has_wrapped or coalesce(step.tenant_id <= take_jobs.after_tenant_id, true)
    ),

    candidate as materialized (
        select
            turn.number,
            turn.tenant_id,
            _tenant_running - running.jobs as room
        from turn
        cross join lateral (
            select count(*) as jobs
            from (
                select
                from app.jobs as job
                where
                    job.tenant_id = turn.tenant_id
                    and job.status = 'running'
                limit _tenant_running
            ) as counted
        ) as running
        where
            turn.number > 0
            and running.jobs < _tenant_running
        limit take_jobs.maximum
    ),

    share as materialized (
        select take_jobs.maximum / nullif(count(*), 0) as jobs
        from candidate
    ),

    chosen as materialized (
        select
            candidate.number,
            candidate.tenant_id,
            next.id
        from candidate
        cross join share
        cross join lateral (
            select ready.id
            from unnest(_priorities) as wanted (priority)
            cross join lateral (
                select pending.id
                from app.pending_jobs as pending
                inner join app.jobs as job
                    on
                        job.tenant_id = pending.tenant_id
                        and job.id = pending.id
                where
                    pending.is_ready
                    and (pending.priority, pending.tenant_id) >= (wanted.priority, candidate.tenant_id)
                    and (pending.priority, pending.tenant_id) <= (wanted.priority, candidate.tenant_id)
                    and pending.kind = any(take_jobs.kinds)
                order by pending.priority, pending.tenant_id, pending.id
                limit least(candidate.room, share.jobs)
                for update of pending, job skip locked
            ) as ready
            order by wanted.priority desc, ready.id
            limit least(candidate.room, share.jobs)
        ) as next
    ),

    taken as (
        delete from app.pending_jobs as pending
        using chosen
        where
            pending.tenant_id = chosen.tenant_id
            and pending.id = chosen.id
        returning
            chosen.number,
            pending.tenant_id,
            pending.id
    ),

    begun as (
        update app.jobs as job
        set
            status = 'running',
            attempts = job.attempts + 1,
            worker_id = take_jobs.worker_id,
            started_at = clock_timestamp()
        from taken
        where
            job.tenant_id = taken.tenant_id
            and job.id = taken.id
        returning
            taken.number,
            job.tenant_id,
            job.user_id,
            job.id,
            job.kind,
            job.arguments,
            job.attempts,
            job.maximum_attempts
    )

    select
        begun.tenant_id,
        begun.user_id,
        begun.id,
        begun.kind,
        begun.arguments,
        begun.attempts,
        begun.maximum_attempts
    from begun
    order by begun.number, begun.id;
end;
$$;

comment on function app.take_jobs(uuid, integer, text[], text[], uuid, integer) is
$$Gives a worker jobs to run, of the tenants in turn.

Returns the jobs, which are now running; the last row's tenant is where the next call's turn begins. A worker that has
free slots calls again until nothing is returned. 22023: a parameter is out of range.$$;
alter function app.take_jobs(uuid, integer, text[], text[], uuid, integer) owner to cardbase_dispatcher;
revoke all on function app.take_jobs(uuid, integer, text[], text[], uuid, integer) from public;
grant execute on function app.take_jobs(uuid, integer, text[], text[], uuid, integer) to cardbase_worker;
