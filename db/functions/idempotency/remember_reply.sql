-- Stores the reply to a request whose idempotency key the running transaction has claimed.
--   tenant_id, idempotency_key, fingerprint, user_id   as given to app.claim_idempotency_key
--   idempotency_ttl_hours                              how long to keep it; at least 1
--   reply                                              the reply to the request
-- Returns the reply with the header X-Idempotency-Cache: MISS.
-- Errors: 40001 under repeatable read or above, when another transaction stored the key since this one began.
create or replace function app.remember_reply(
    tenant_id uuid,
    idempotency_key text,
    fingerprint bytea,
    idempotency_ttl_hours integer,
    reply api.reply,
    user_id uuid default null
)
returns api.reply
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    _now constant timestamptz := clock_timestamp();
begin
    -- The key may be there, expired: then it starts over.
    insert into app.idempotency_store as stored (
        tenant_id,
        owner_id,
        idempotency_key,
        fingerprint,
        status,
        headers,
        body,
        created_at,
        expires_at
    )
    values (
        remember_reply.tenant_id,
        coalesce(remember_reply.user_id, '00000000-0000-0000-0000-000000000000'),
        app.stored_idempotency_key(remember_reply.user_id, remember_reply.idempotency_key),
        remember_reply.fingerprint,
        (remember_reply.reply).status,
        (remember_reply.reply).headers,
        (remember_reply.reply).body,
        _now,
        _now + make_interval(hours => greatest(remember_reply.idempotency_ttl_hours, 1))
    )
    on conflict on constraint idempotency_store_pkey do update
        set
            fingerprint = excluded.fingerprint,
            status = excluded.status,
            headers = excluded.headers,
            body = excluded.body,
            created_at = excluded.created_at,
            expires_at = excluded.expires_at
        where stored.expires_at <= excluded.created_at;

    if not found then
        raise exception using
            errcode = 'serialization_failure',
            message = 'another transaction stored this idempotency key meanwhile',
            detail = 'The running transaction''s snapshot is older than the stored reply.',
            hint = 'Run the transaction again, or use read committed.';
    end if;

    return row(
        (remember_reply.reply).status,
        coalesce((remember_reply.reply).headers, '{}') || '{"X-Idempotency-Cache": "MISS"}',
        (remember_reply.reply).body,
        (remember_reply.reply).measures
    )::api.reply;
end;
$$;

comment on function app.remember_reply(uuid, text, bytea, integer, api.reply, uuid) is
$$Stores the reply to a request whose idempotency key the running transaction has claimed.

40001: another transaction stored the key since this one began, under repeatable read or above.$$;
revoke all on function app.remember_reply(uuid, text, bytea, integer, api.reply, uuid) from public;
grant execute on function app.remember_reply(uuid, text, bytea, integer, api.reply, uuid) to cardbase_api;
