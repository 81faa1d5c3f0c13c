-- Lists jobs, the caller's own and the tenant's, newest first.
--   tenant_id, user_id   the caller's tenant and user; null: no user
--   status               only of this status; null: all
--   limit                how many to return at most, 1 to 1,000
-- Returns 200 with the jobs.
-- Errors: PT422 validation_error.
-- What is read is bounded by limit, however many there are: for each owner and status the newest.
create or replace function api.list_jobs(
    tenant_id uuid,
    user_id uuid,
    status text default null,
    "limit" integer default 20
)
returns api.reply
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
as $$
declare
    _statuses constant text[] := array['pending', 'running', 'completed', 'failed'];
    _limit constant integer := coalesce(list_jobs."limit", 20);
    _data jsonb;
begin
    perform app.set_optional_caller(list_jobs.tenant_id, list_jobs.user_id);

    perform app.check_range('limit', _limit, 1, 1000);
    if list_jobs.status is not null then
        perform app.check_choice('status', list_jobs.status, _statuses);
    end if;

    with newest as materialized (
        select listed.job
        from unnest(_statuses) as wanted (status)
        cross join lateral (
            (
                select job
                from app.jobs as job
                where
                    job.tenant_id = list_jobs.tenant_id
                    and job.user_id = list_jobs.user_id
                    and job.status = wanted.status
                order by job.id desc
                limit _limit
            )
            union all
            (
                select job
                from app.jobs as job
                where job.tenant_id = list_jobs.tenant_id and job.user_id is null and job.status = wanted.status
                order by job.id desc
                limit _limit
            )
        ) as listed
        where list_jobs.status is null or wanted.status = list_jobs.status
        order by (listed.job).id desc
        limit _limit
    )

    select coalesce(jsonb_agg(app.job_document(newest.job) order by (newest.job).id desc), '[]')
    into _data
    from newest;

    return app.success(200, _data);
end;
$$;

comment on function api.list_jobs(uuid, uuid, text, integer) is
$$Lists jobs, newest first.

Those of the caller, and those of the tenant as such. status narrows the list: pending, running, completed, failed.

PT422: status is not one of these, or limit is not between 1 and 1,000.$$;
alter function api.list_jobs(uuid, uuid, text, integer) owner to cardbase_api;
revoke all on function api.list_jobs(uuid, uuid, text, integer) from public;
grant execute on function api.list_jobs(uuid, uuid, text, integer) to cardbase_gateway, cardbase_service;
