-- An idempotency key without the double quotes of the IETF draft's form: "abc" and abc are the same key.
-- (draft-ietf-httpapi-idempotency-key-header: the value is a string of RFC 8941, which escapes \ and ".)
create or replace function app.normal_idempotency_key(idempotency_key text)
returns text
language sql
immutable
parallel safe
return case
    when normal_idempotency_key.idempotency_key like '"%"'
        then regexp_replace(
            substr(normal_idempotency_key.idempotency_key, 2, length(normal_idempotency_key.idempotency_key) - 2),
            '\\(["\\])',
            '\1',
            'g'
        )
    else normal_idempotency_key.idempotency_key
end;

comment on function app.normal_idempotency_key(text) is
$$An idempotency key without the double quotes around it, if it has any.$$;
revoke all on function app.normal_idempotency_key(text) from public;
grant execute on function app.normal_idempotency_key(text) to cardbase_api;
