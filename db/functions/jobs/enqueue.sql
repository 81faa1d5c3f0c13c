-- Enqueues a job for the current tenant, whatever it has pending: for functions that bring a job along with what they
-- write. Its arguments are not checked.
--   tenant_id, user_id   the caller's tenant and user (app.set_optional_caller); null user: the job is the tenant's
--   kind, arguments      what is to be done (app.job_kinds)
--   queue                high, default or low
--   run_after            not before this time; null: at once
--   maximum_attempts     how often it is tried before it counts as failed
-- Returns the job's id. The commit wakes the workers.
create or replace function app.enqueue(
    tenant_id uuid,
    user_id uuid,
    kind text,
    arguments jsonb,
    queue text default 'default',
    run_after timestamptz default null,
    maximum_attempts integer default 5
)
returns uuid
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    _id constant uuid := app.uuid_v7();
    _now constant timestamptz := clock_timestamp();
begin
    insert into app.jobs (tenant_id, id, user_id, kind, queue, arguments, maximum_attempts)
    values (
        enqueue.tenant_id,
        _id,
        enqueue.user_id,
        enqueue.kind,
        enqueue.queue,
        enqueue.arguments,
        enqueue.maximum_attempts
    );

    insert into app.pending_jobs (tenant_id, id, priority, kind, run_at, is_ready)
    values (
        enqueue.tenant_id,
        _id,
        (app.job_queues() ->> enqueue.queue)::smallint,
        enqueue.kind,
        greatest(enqueue.run_after, _now),
        coalesce(enqueue.run_after <= _now, true)
    );

    perform pg_notify('cardbase_jobs', '');

    return _id;
end;
$$;

comment on function app.enqueue(uuid, uuid, text, jsonb, text, timestamptz, integer) is
$$Enqueues a job for the current tenant, whatever it has pending.$$;
revoke all on function app.enqueue(uuid, uuid, text, jsonb, text, timestamptz, integer) from public;
grant execute on function app.enqueue(uuid, uuid, text, jsonb, text, timestamptz, integer) to cardbase_api;
