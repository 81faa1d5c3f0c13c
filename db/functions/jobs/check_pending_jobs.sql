-- Refuses a job to a tenant that has as many pending as it may: TENANT_PENDING_JOBS, which `cardbase deploy` writes.
-- What is put off counts, too. Callers that enqueue at the same time may exceed the limit by as many as there are.
--   tenant_id   the caller's tenant
-- Errors: PT429 rate_limited.
create or replace function app.check_pending_jobs(tenant_id uuid)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    _maximum constant bigint := app.setting('tenant_pending_jobs', '10000')::bigint;
begin
    perform
    from app.pending_jobs as pending
    where pending.tenant_id = check_pending_jobs.tenant_id
    offset _maximum - 1
    limit 1;

    if found then
        raise exception using
            errcode = 'PT429',
            message = 'too many jobs are pending',
            detail = format('This tenant has %s jobs pending, and may have no more.', _maximum),
            hint = 'Retry when some of them have been run. Nothing was enqueued.',
            constraint = 'rate_limited';
    end if;
end;
$$;

comment on function app.check_pending_jobs(uuid) is
$$Refuses a job to a tenant that has as many pending as it may.

PT429: it has.$$;
revoke all on function app.check_pending_jobs(uuid) from public;
grant execute on function app.check_pending_jobs(uuid) to cardbase_api;
