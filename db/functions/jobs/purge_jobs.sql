-- Removes jobs of all tenants that ended long ago, a bounded number per call.
--   retention_hours   how many hours they are kept after their end, 1 to 876,000
--   maximum_rows      how many to remove at most, 1 to 100,000
-- Returns how many were removed; fewer than maximum_rows means that none are left for now.
-- Errors: 22023, a parameter is out of range.
-- Rows that a request has locked are skipped, not waited for. Several purges at once share the work.
create or replace function app.purge_jobs(retention_hours integer, maximum_rows integer default 1000)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _purged bigint;
begin
    if (purge_jobs.retention_hours between 1 and 876000) is not true then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = 'retention_hours is out of range',
            detail = format('Expected 1 to 876,000, got %s.', coalesce(purge_jobs.retention_hours::text, 'nothing')),
            hint = 'Keep jobs for an hour at least.';
    end if;
    perform app.check_maximum_rows(purge_jobs.maximum_rows);

    with outlived as (
        select
            job.tenant_id,
            job.id
        from app.jobs as job
        where job.completed_at <= now() - make_interval(hours => purge_jobs.retention_hours)
        order by job.completed_at
        limit purge_jobs.maximum_rows
        for update skip locked
    )

    delete from app.jobs as job
    using outlived
    where
        job.tenant_id = outlived.tenant_id
        and job.id = outlived.id;

    get diagnostics _purged = row_count;
    return _purged;
end;
$$;

comment on function app.purge_jobs(integer, integer) is
$$Removes jobs of all tenants that ended long ago, a bounded number per call.

Returns how many were removed. 22023: a parameter is out of range.$$;
alter function app.purge_jobs(integer, integer) owner to cardbase_maintenance;
revoke all on function app.purge_jobs(integer, integer) from public;
grant execute on function app.purge_jobs(integer, integer) to cardbase_worker;
