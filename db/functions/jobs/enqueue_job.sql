-- Enqueues a job, which is done in the background once the caller's transaction is committed.
--   tenant_id, user_id      the caller's tenant and user; null user: the job is the tenant's, and all its users see it
--   kind, arguments         what is to be done (app.job_kinds); arguments have at most 65,536 bytes
--   queue                   high (or high_priority), default, low (or low_priority): the order among a tenant's jobs;
--                           high is for trusted services
--   run_after               not before this time; null: at once
--   maximum_attempts        1 to 20: how often it is tried before it counts as failed
--   idempotency_key         the same key and request again return the first reply, and enqueue nothing
--   idempotency_ttl_hours   how long the key is remembered
-- Returns 202 {"job_id", "status": "queued"}.
-- Errors: PT422 validation_error; PT422 idempotency_key_reused; PT409 idempotency_in_progress (after 2 s); PT403
-- forbidden, the queue is high and the call came through the gateway; PT429 rate_limited (app.check_pending_jobs).
create or replace function api.enqueue_job(
    tenant_id uuid,
    user_id uuid,
    kind text,
    arguments jsonb default null,
    queue text default null,
    run_after timestamptz default null,
    maximum_attempts integer default null,
    idempotency_key text default null,
    idempotency_ttl_hours integer default 24
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _arguments constant jsonb := coalesce(enqueue_job.arguments, '{}');
    _queue constant text := case enqueue_job.queue
        when 'high_priority' then 'high'
        when 'low_priority' then 'low'
        else coalesce(enqueue_job.queue, 'default')
    end;
    _attempts constant integer := coalesce(enqueue_job.maximum_attempts, 5);
    _fingerprint bytea;
    _id uuid;
    _reply api.reply;
begin
    perform app.set_optional_caller(enqueue_job.tenant_id, enqueue_job.user_id);
    perform app.check_json('arguments', _arguments);

    if enqueue_job.idempotency_key is not null then
        _fingerprint := app.request_fingerprint(
            'enqueue_job',
            jsonb_build_array(enqueue_job.kind, _arguments, _queue, enqueue_job.run_after, _attempts)
        );
        _reply := app.claim_idempotency_key(
            enqueue_job.tenant_id, enqueue_job.idempotency_key, _fingerprint, enqueue_job.user_id
        );
        if _reply.status is not null then
            return _reply;
        end if;
    end if;

    perform app.check_job_arguments(enqueue_job.kind, _arguments);
    perform app.check_choice('queue', _queue, array['high', 'default', 'low']);
    perform app.check_range('maximum_attempts', _attempts, 1, 20);
    if not isfinite(enqueue_job.run_after) then
        raise exception using
            errcode = 'PT422',
            message = 'run_after is not valid',
            detail = 'Expected a point in time.',
            hint = 'Nothing was enqueued.',
            column = 'run_after',
            constraint = 'validation_error';
    end if;

    if _queue = 'high' and session_user = 'cardbase_gateway' then
        raise exception using
            errcode = 'PT403',
            message = 'the queue is not open to you',
            detail = 'The queue high is for the system and trusted services.',
            hint = 'Leave the queue out, or send default or low. Nothing was enqueued.',
            column = 'queue',
            constraint = 'forbidden';
    end if;

    perform app.check_pending_jobs(enqueue_job.tenant_id);

    _id := app.enqueue(
        enqueue_job.tenant_id, enqueue_job.user_id, enqueue_job.kind, _arguments, _queue, enqueue_job.run_after, _attempts
    );

    _reply := app.success(202, jsonb_build_object('job_id', _id, 'status', 'queued'));

    if enqueue_job.idempotency_key is not null then
        _reply := app.remember_reply(
            enqueue_job.tenant_id,
            enqueue_job.idempotency_key,
            _fingerprint,
            enqueue_job.idempotency_ttl_hours,
            _reply,
            enqueue_job.user_id
        );
    end if;

    return _reply;
end;
$$;

comment on function api.enqueue_job(uuid, uuid, text, jsonb, text, timestamptz, integer, text, integer) is
$$Enqueues a job, which is done in the background.

kind says what is to be done, arguments what with. queue is default, low, or for trusted services high; run_after puts
the job off until then; maximum_attempts, 1 to 20, else 5, is how often it is tried. It is done at least once after the
transaction is committed. A caller who is no user enqueues for the tenant: all its users see the job.

PT422: the kind is not known, an argument is wrong, or a field is. PT409: a request with the idempotency key is still
running. PT403: the queue is high, and the call came through the gateway. PT429: the tenant has too many jobs pending.$$;
alter function api.enqueue_job(uuid, uuid, text, jsonb, text, timestamptz, integer, text, integer)
owner to cardbase_api;
revoke all on function api.enqueue_job(uuid, uuid, text, jsonb, text, timestamptz, integer, text, integer) from public;
grant execute on function api.enqueue_job(uuid, uuid, text, jsonb, text, timestamptz, integer, text, integer)
to cardbase_gateway, cardbase_service;
