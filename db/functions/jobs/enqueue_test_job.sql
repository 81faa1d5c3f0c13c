-- Enqueues a job of the kind test, to see whether jobs are done.
--   tenant_id, user_id   the caller's tenant and user; null user: the job is the tenant's
--   message              what its result says
--   seconds              how long it takes, 0 to 5
--   fail                 whether each attempt fails
--   idempotency_key, idempotency_ttl_hours; reply and errors   as for api.enqueue_job
create or replace function api.enqueue_test_job(
    tenant_id uuid,
    user_id uuid,
    message text default null,
    seconds double precision default null,
    fail boolean default null,
    idempotency_key text default null,
    idempotency_ttl_hours integer default 24
)
returns api.reply
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    select
        reply.status,
        reply.headers,
        reply.body,
        reply.measures
    from api.enqueue_job(
        tenant_id => enqueue_test_job.tenant_id,
        user_id => enqueue_test_job.user_id,
        kind => 'test',
        arguments => jsonb_strip_nulls(
            jsonb_build_object(
                'message', enqueue_test_job.message,
                'seconds', enqueue_test_job.seconds,
                'fail', enqueue_test_job.fail
            )
        ),
        idempotency_key => enqueue_test_job.idempotency_key,
        idempotency_ttl_hours => enqueue_test_job.idempotency_ttl_hours
    ) as reply
$$;

comment on function api.enqueue_test_job(uuid, uuid, text, double precision, boolean, text, integer) is
$$Enqueues a job that does nothing, to see whether jobs are done.

After the given number of seconds, 0 to 5, its result is message, or it fails.

PT422: a field is not valid. PT409: a request with the idempotency key is still running.$$;
alter function api.enqueue_test_job(uuid, uuid, text, double precision, boolean, text, integer) owner to cardbase_api;
revoke all on function api.enqueue_test_job(uuid, uuid, text, double precision, boolean, text, integer) from public;
grant execute on function api.enqueue_test_job(uuid, uuid, text, double precision, boolean, text, integer)
to cardbase_gateway, cardbase_service;
