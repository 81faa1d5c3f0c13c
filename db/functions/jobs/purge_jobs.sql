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
    perform app.check_parameter('retention_hours', purge_jobs.retention_hours, 876000);
    perform app.check_parameter('maximum_rows', purge_jobs.maximum_rows, 100000);

    with due as (
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
    using due
    where
        job.tenant_id = due.tenant_id
        and job.id = due.id;

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
