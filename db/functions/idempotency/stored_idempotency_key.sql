-- The form in which an idempotency key is stored: a tenant's as it is, a user's as its SHA-256, 64 hexadecimal digits.
--   user_id           the user; null: the key is the tenant's
--   idempotency_key   as the caller sent it
create or replace function app.stored_idempotency_key(user_id uuid, idempotency_key text)
returns text
language sql
immutable
parallel safe
return case
    when stored_idempotency_key.user_id is null then app.normal_idempotency_key(stored_idempotency_key.idempotency_key)
    else encode(
        sha256(convert_to(app.normal_idempotency_key(stored_idempotency_key.idempotency_key), 'UTF8')), 'hex'
    )
end;

comment on function app.stored_idempotency_key(uuid, text) is
$$The form in which an idempotency key is stored: a tenant's as it is, a user's as its SHA-256.$$;
revoke all on function app.stored_idempotency_key(uuid, text) from public;
grant execute on function app.stored_idempotency_key(uuid, text) to cardbase_api;
