-- Makes the running transaction the only one with an idempotency key, or returns the reply that an earlier
-- request with that key got: for functions that take the key but leave storing it to their caller.
--   tenant_id         the tenant; set in the transaction here
--   user_id           the user whose key it is; null: it is the tenant's
--   idempotency_key   1 to 255 characters
--   function_name     the function that the request is for
--   request           everything that makes two requests for it the same
-- Returns the stored reply with the header X-Idempotency-Cache: HIT; or a row of nulls: the caller does the work, in
-- this transaction, and calls api.remember_request.
-- Errors: as app.check_json and app.claim_idempotency_key.
create or replace function api.claim_request(
    tenant_id uuid,
    user_id uuid,
    idempotency_key text,
    function_name text,
    request jsonb
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config('app.current_tenant_id', claim_request.tenant_id::text, true);
    -- Over /rpc it is an array, and the arguments are its first part.
    perform app.check_json('', part.value, 64000000)
    from jsonb_array_elements(jsonb_path_query_array(claim_request.request, 'lax $[*]')) as part (value);

    return app.claim_idempotency_key(
        claim_request.tenant_id,
        claim_request.idempotency_key,
        app.request_fingerprint(claim_request.function_name, claim_request.request),
        claim_request.user_id
    );
end;
$$;

comment on function api.claim_request(uuid, uuid, text, text, jsonb) is
$$Claims an idempotency key of a tenant or a user for a call of a function that doesn't store it itself.

@internal
PT422: the key is not valid, or was used for another request. PT409: a request with it is still running after
2 seconds.$$;
alter function api.claim_request(uuid, uuid, text, text, jsonb) owner to cardbase_api;
revoke all on function api.claim_request(uuid, uuid, text, text, jsonb) from public;
grant execute on function api.claim_request(uuid, uuid, text, text, jsonb) to cardbase_gateway, cardbase_service;
