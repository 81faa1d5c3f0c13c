-- Stores the reply to a request whose idempotency key the running transaction has claimed by api.claim_request.
--   tenant_id, user_id, idempotency_key, function_name, request   as given to api.claim_request
--   idempotency_ttl_hours                                         how long to keep it; at least 1
--   row_count, total_count                                        rows in the body, and rows that there were in all
--   body                                                          the body of the reply
-- Returns the reply with the headers row_count and total_count (they are for the caller, and not sent) and
-- X-Idempotency-Cache: MISS.
-- Errors: as app.remember_reply.
create or replace function api.remember_request(
    tenant_id uuid,
    user_id uuid,
    idempotency_key text,
    function_name text,
    request jsonb,
    idempotency_ttl_hours integer,
    row_count bigint,
    total_count bigint,
    body jsonb
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config('app.current_tenant_id', remember_request.tenant_id::text, true);
    perform app.check_json('', remember_request.request, 64000000);

    return app.remember_reply(
        remember_request.tenant_id,
        remember_request.idempotency_key,
        app.request_fingerprint(remember_request.function_name, remember_request.request),
        remember_request.idempotency_ttl_hours,
        row(
            200,
            jsonb_build_object('row_count', remember_request.row_count, 'total_count', remember_request.total_count),
            remember_request.body,
            null
        )::api.reply,
        remember_request.user_id
    );
end;
$$;

comment on function api.remember_request(uuid, uuid, text, text, jsonb, integer, bigint, bigint, jsonb) is
$$Stores the reply to a call whose idempotency key api.claim_request has claimed.

@internal$$;
alter function api.remember_request(uuid, uuid, text, text, jsonb, integer, bigint, bigint, jsonb)
owner to cardbase_api;
revoke all on function api.remember_request(uuid, uuid, text, text, jsonb, integer, bigint, bigint, jsonb) from public;
grant execute on function api.remember_request(uuid, uuid, text, text, jsonb, integer, bigint, bigint, jsonb)
to cardbase_gateway, cardbase_service;
