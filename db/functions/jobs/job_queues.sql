-- The queues of jobs by their priority: of a tenant's jobs those in the highest queue are taken first.
create or replace function app.job_queues()
returns jsonb
language sql
immutable
parallel safe
return '{"high": 1, "default": 0, "low": -1}'::jsonb;

comment on function app.job_queues() is
$$The queues of jobs by their priority.$$;
revoke all on function app.job_queues() from public;
grant execute on function app.job_queues() to cardbase_api, cardbase_dispatcher, cardbase_maintenance;
