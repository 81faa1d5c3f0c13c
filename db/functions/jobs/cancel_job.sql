-- Cancels a job: a pending one is never begun; the worker of a running one is told to stop, and its outcome no longer
-- counts.
--   tenant_id, user_id   the caller's tenant and user; null: no user
--   id                   the job
-- Returns 200 with the job, failed with the error cancelled; also when it was cancelled before.
-- Errors: PT404 job_not_found; PT409 conflict, the job is completed or has failed.
create or replace function api.cancel_job(tenant_id uuid, user_id uuid, id uuid)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _job app.jobs;
begin
    perform app.set_optional_caller(cancel_job.tenant_id, cancel_job.user_id);

    select job.*
    into _job
    from app.jobs as job
    where
        job.tenant_id = cancel_job.tenant_id
        and job.id = cancel_job.id
        and (job.user_id is null or job.user_id = cancel_job.user_id)
    for update;

    if not found then
        perform app.resource_not_found('jobs', cancel_job.id);
    end if;

    if _job.status = 'failed' and _job.error = 'cancelled' then
        return app.success(200, app.job_document(_job));
    end if;

    if _job.status in ('completed', 'failed') then
        raise exception using
            errcode = 'PT409',
            message = 'the job has ended',
            detail = format('Its status is %s.', _job.status),
            hint = 'There is nothing left to cancel.',
            column = 'id',
            constraint = 'conflict';
    end if;

    delete from app.pending_jobs as pending
    where
        pending.tenant_id = cancel_job.tenant_id
        and pending.id = cancel_job.id;

    if _job.status = 'running' then
        perform pg_notify('cardbase_jobs', 'cancelled');
    end if;

    update app.jobs as job
    set
        status = 'failed',
        error = 'cancelled',
        completed_at = clock_timestamp()
    where
        job.tenant_id = cancel_job.tenant_id
        and job.id = cancel_job.id
    returning job.* into _job;

    return app.success(200, app.job_document(_job));
end;
$$;

comment on function api.cancel_job(uuid, uuid, uuid) is
$$Cancels a job that is pending or running.

One that is pending is never begun. One that is running is stopped, and what it has done so far may stay. Returns the
job, which has failed with the error cancelled.

PT404: neither the caller nor the tenant as such has this job. PT409: the job has ended.$$;
alter function api.cancel_job(uuid, uuid, uuid) owner to cardbase_api;
revoke all on function api.cancel_job(uuid, uuid, uuid) from public;
grant execute on function api.cancel_job(uuid, uuid, uuid) to cardbase_gateway, cardbase_service;
