-- Enqueues a job, which is done in the background once the caller's transaction is committed.
--   tenant_id, user_id      the caller's tenant and user; null user: the job is the tenant's, and all its users see it
--   kind, arguments         what is to be done (app.job_kinds); arguments have at most 65,536 bytes
--   queue                   high, default or low: workers take from the highest that has jobs
--   run_after               not before this time; null: at once
--   maximum_attempts        1 to 20: how often it is tried before it counts as failed
--   idempotency_key         the same key and request again return the first reply, and enqueue nothing
--   idempotency_ttl_hours   how long the key is remembered
-- Returns 202 {"job_id", "status": "queued"}.
-- Errors: PT422 validation_error; PT422 idempotency_key_reused; PT409 idempotency_in_progress (after 2 s).
--
-- The commit wakes the workers, by PgQueuer's trigger on its table.
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
    _id constant uuid := app.uuid_v7();
    _arguments constant jsonb := coalesce(enqueue_job.arguments, '{}');
    _queue constant text := coalesce(enqueue_job.queue, 'default');
    _attempts constant integer := coalesce(enqueue_job.maximum_attempts, 5);
    _key constant text := app.user_idempotency_key(enqueue_job.user_id, enqueue_job.idempotency_key);
    _fingerprint bytea;
    _reply api.reply;
begin
    perform app.set_optional_caller(enqueue_job.tenant_id, enqueue_job.user_id);

    if _key is not null then
        _fingerprint := app.request_fingerprint(
            'enqueue_job',
            jsonb_build_array(enqueue_job.kind, _arguments, _queue, enqueue_job.run_after, _attempts)
        );
        _reply := app.claim_idempotency_key(enqueue_job.tenant_id, _key, _fingerprint);
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

    with queued as (
        insert into queue.pgqueuer (entrypoint, priority, payload, execute_after, status)
        values (
            enqueue_job.kind,
            (app.job_queues() ->> _queue)::integer,
            uuid_send(enqueue_job.tenant_id) || uuid_send(_id),
            coalesce(enqueue_job.run_after, now()),
            'queued'
        )
        returning id
    )

    insert into app.jobs as job (
        tenant_id,
        id,
        user_id,
        kind,
        queue,
        arguments,
        maximum_attempts,
        queue_id
    )
    select
        enqueue_job.tenant_id,
        _id,
        enqueue_job.user_id,
        enqueue_job.kind,
        _queue,
        _arguments,
        _attempts,
        queued.id
    from queued;

    _reply := app.success(202, jsonb_build_object('job_id', _id, 'status', 'queued'));

    if _key is not null then
        _reply := app.remember_reply(
            enqueue_job.tenant_id, _key, _fingerprint, enqueue_job.idempotency_ttl_hours, _reply
        );
    end if;

    return _reply;
end;
$$;

comment on function api.enqueue_job(uuid, uuid, text, jsonb, text, timestamptz, integer, text, integer) is
$$Enqueues a job, which is done in the background.

kind says what is to be done, arguments what with. queue is high, default or low; run_after puts the job off until then;
maximum_attempts, 1 to 20, else 5, is how often it is tried. It is done at least once after the transaction is
committed. A caller who is no user enqueues for the tenant: all its users see the job.

PT422: the kind is not known, an argument is wrong, or a field is. PT409: a request with the idempotency key is still at
work.$$;
alter function api.enqueue_job(uuid, uuid, text, jsonb, text, timestamptz, integer, text, integer)
owner to cardbase_api;
revoke all on function api.enqueue_job(uuid, uuid, text, jsonb, text, timestamptz, integer, text, integer) from public;
grant execute on function api.enqueue_job(uuid, uuid, text, jsonb, text, timestamptz, integer, text, integer)
to cardbase_gateway, cardbase_service;
