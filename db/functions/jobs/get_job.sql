-- Gets a job: the caller's own, or the tenant's.
--   tenant_id, user_id   the caller's tenant and user; null: no user
--   id                   the job
-- Returns 200 with the job.
-- Errors: PT404 job_not_found.
create or replace function api.get_job(tenant_id uuid, user_id uuid, id uuid)
returns api.reply
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _document jsonb;
begin
    perform app.set_optional_caller(get_job.tenant_id, get_job.user_id);

    select app.job_document(job)
    into _document
    from app.jobs as job
    where
        job.tenant_id = get_job.tenant_id
        and job.id = get_job.id
        and (job.user_id is null or job.user_id = get_job.user_id);

    if _document is null then
        perform app.resource_not_found('jobs', get_job.id);
    end if;

    return app.success(200, _document);
end;
$$;

comment on function api.get_job(uuid, uuid, uuid) is
$$Gets a job, with its status and outcome.

status is pending, running, completed or failed. A job whose attempt failed is pending until the next one.

PT404: neither the caller nor the tenant as such has this job, or it ended long ago and was removed.$$;
alter function api.get_job(uuid, uuid, uuid) owner to cardbase_api;
revoke all on function api.get_job(uuid, uuid, uuid) from public;
grant execute on function api.get_job(uuid, uuid, uuid) to cardbase_gateway, cardbase_service;
