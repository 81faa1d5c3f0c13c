-- Makes the running transaction the only one with an idempotency key, or returns the reply that an earlier request with
-- that key got.
--   tenant_id         the tenant, already set in the transaction
--   idempotency_key   1 to 255 characters
--   fingerprint       app.request_fingerprint of the request
--   user_id           the user whose key it is; null: it is the tenant's. Equal keys of two owners never meet
-- Returns the stored reply with the header X-Idempotency-Cache: HIT; or a row of nulls: the caller now holds the key
-- until its transaction ends, does the work, and calls app.remember_reply.
-- Errors: PT422 validation_error; PT422 idempotency_key_reused, the key was used for another request;
-- PT409 idempotency_in_progress, after 2 seconds of waiting, so that the retries of one slow key can't hold every
-- connection; sooner where the caller has set a lock_timeout that is shorter.
--
-- The lock comes first, then the look: whoever held the key has committed or failed by then, and the look's snapshot is
-- newer than that. A failed request leaves nothing behind. The lock is 64 bits of a hash; two keys that share them only
-- wait for each other.
create or replace function app.claim_idempotency_key(
    tenant_id uuid,
    idempotency_key text,
    fingerprint bytea,
    user_id uuid default null
)
returns api.reply
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    _key constant text := app.normal_idempotency_key(claim_idempotency_key.idempotency_key);
    _owner_id constant uuid := coalesce(claim_idempotency_key.user_id, '00000000-0000-0000-0000-000000000000');
    _lock constant bigint := hashtextextended(concat(claim_idempotency_key.tenant_id, _owner_id, _key), 0);
    _lock_timeout text;
    _fingerprint bytea;
    _reply api.reply;
begin
    if length(_key) not between 1 and 255 then
        raise exception using
            errcode = 'PT422',
            message = 'the idempotency key is not valid',
            detail = format('Expected 1 to 255 characters, got %s.', length(_key)),
            hint = 'Send a key that you generate, such as a UUID, one for each request.',
            column = 'Idempotency-Key',
            constraint = 'validation_error';
    end if;

    -- Trying first spares the usual call the subtransaction that catching the timeout takes.
    if not pg_try_advisory_xact_lock(_lock) then
        _lock_timeout := current_setting('lock_timeout');
        begin
            if _lock_timeout = '0' or _lock_timeout::interval > interval '2 seconds' then
                perform set_config('lock_timeout', '2s', true);
            end if;
            perform pg_advisory_xact_lock(_lock);
            perform set_config('lock_timeout', _lock_timeout, true);
        exception
            when lock_not_available then
                raise exception using
                    errcode = 'PT409',
                    message = 'a request with this idempotency key is still running',
                    detail = format('Waited for the key %s.', _key),
                    hint = 'Repeat the same request with the same key a little later.',
                    column = 'Idempotency-Key',
                    constraint = 'idempotency_in_progress';
        end;
    end if;

    select
        stored.fingerprint,
        stored.status,
        coalesce(stored.headers, '{}') || '{"X-Idempotency-Cache": "HIT"}',
        stored.body
    into _fingerprint, _reply.status, _reply.headers, _reply.body
    from app.idempotency_store as stored
    where
        stored.tenant_id = claim_idempotency_key.tenant_id
        and stored.owner_id = _owner_id
        and stored.idempotency_key = app.stored_idempotency_key(claim_idempotency_key.user_id, _key)
        and stored.expires_at > clock_timestamp();

    if _fingerprint <> claim_idempotency_key.fingerprint then
        raise exception using
            errcode = 'PT422',
            message = 'the idempotency key was used for another request',
            detail = format('The key %s belongs to a request with another body or function.', _key),
            hint = 'Send a new key with a new request.',
            column = 'Idempotency-Key',
            constraint = 'idempotency_key_reused';
    end if;

    return _reply;
end;
$$;

comment on function app.claim_idempotency_key(uuid, text, bytea, uuid) is
$$Claims an idempotency key for the running transaction, or returns the reply to its first request.

PT422: the key is not valid, or was used for another request. PT409: a request with it is still running after
2 seconds.$$;
revoke all on function app.claim_idempotency_key(uuid, text, bytea, uuid) from public;
grant execute on function app.claim_idempotency_key(uuid, text, bytea, uuid) to cardbase_api;
