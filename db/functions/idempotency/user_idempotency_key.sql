-- The key under which a tenant's store keeps a caller's idempotency key, so that equal keys of two users never meet.
--   user_id           the user; null: the caller is the tenant as such, whose key stays as it is
--   idempotency_key   as the user sent it; null: none. One that is empty or too long stays so, for
--                     app.claim_idempotency_key to refuse
create or replace function app.user_idempotency_key(user_id uuid, idempotency_key text)
returns text
language sql
immutable
parallel safe
return case
    when user_idempotency_key.user_id is null then user_idempotency_key.idempotency_key
    when length(app.normal_idempotency_key(user_idempotency_key.idempotency_key)) between 1 and 255
        then concat_ws(
            ':',
            'user',
            user_idempotency_key.user_id,
            encode(
                sha256(convert_to(app.normal_idempotency_key(user_idempotency_key.idempotency_key), 'UTF8')), 'hex'
            )
        )
    else user_idempotency_key.idempotency_key
end;

comment on function app.user_idempotency_key(uuid, text) is
$$The key under which a tenant's store keeps a user's idempotency key, or the tenant's.$$;
revoke all on function app.user_idempotency_key(uuid, text) from public;
grant execute on function app.user_idempotency_key(uuid, text) to cardbase_api;
