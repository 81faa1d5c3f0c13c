-- Makes jobs pending again that were running when their worker died. Their attempt counts: after the last they fail.
--   maximum   how many at most, 1 to 10,000
-- Returns how many there were.
-- Errors: 22023, maximum is out of range.
-- A worker is dead when it has not reported in time. After the database was away, that is true of all of them: so
-- nothing is done before some worker has reported for as long as it must, without a gap. By then all others that live
-- have, too.
create or replace function app.recover_jobs(maximum integer default 1000)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _recovered bigint;
begin
    if (recover_jobs.maximum between 1 and 10000) is not true then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = 'maximum is out of range',
            detail = format('Expected 1 to 10,000, got %s.', coalesce(recover_jobs.maximum::text, 'nothing')),
            hint = 'Call again for those that are left.';
    end if;

    perform
    from app.workers as worker
    where
        worker.expires_at > clock_timestamp()
        and worker.alive_since <= clock_timestamp() - (worker.expires_at - worker.last_seen_at);
    if not found then
        return 0::bigint;
    end if;

    select count(*)
    into _recovered
    from (
        select
            (lost.job).worker_id,
            jsonb_agg(app.lost_outcome(lost.job)) as outcomes
        from (
            select job
            from app.jobs as job
            where
                job.status = 'running'
                and not exists (
                    select
                    from app.workers as worker
                    where
                        worker.tenant_id = '00000000-0000-0000-0000-000000000000'
                        and worker.worker_id = job.worker_id
                        and worker.expires_at > clock_timestamp()
                )
            limit recover_jobs.maximum
        ) as lost
        group by (lost.job).worker_id
        order by (lost.job).worker_id
    ) as dead
    cross join lateral app.finish_jobs(dead.worker_id, dead.outcomes);

    return _recovered;
end;
$$;

comment on function app.recover_jobs(integer) is
$$Makes jobs pending again that were running when their worker died.

Returns how many there were. 22023: maximum is out of range.$$;
alter function app.recover_jobs(integer) owner to cardbase_dispatcher;
revoke all on function app.recover_jobs(integer) from public;
grant execute on function app.recover_jobs(integer) to cardbase_worker;
