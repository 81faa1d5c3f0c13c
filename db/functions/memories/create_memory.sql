-- Creates a memory for the caller.
--   tenant_id, user_id   the caller's tenant and user
--   content              what to remember, 1 to 100,000 characters
--   memory_type          of what kind it is, 1 to 50 characters; null: general
--   metadata             an object; null: {}
-- Returns 201 with the memory, whose embedding a job computes (app.enqueue_embedding).
-- Errors: PT401 unauthenticated, the caller is not a user; PT422 validation_error.
create or replace function api.create_memory(
    tenant_id uuid,
    user_id uuid,
    content text,
    memory_type text default null,
    metadata jsonb default null
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _reply api.reply;
begin
    perform app.set_caller(create_memory.tenant_id, create_memory.user_id);

    _reply := app.create_resource(
        'memories',
        jsonb_build_object(
            'content', create_memory.content,
            'memory_type', create_memory.memory_type,
            'metadata', create_memory.metadata
        )
    );
    perform app.enqueue_embedding((_reply.body -> 'data' ->> 'id')::uuid);

    return _reply;
end;
$$;

comment on function api.create_memory(uuid, uuid, text, text, jsonb) is
$$Creates a memory.

content has 1 to 100,000 characters, memory_type 1 to 50 (else it is general), metadata is an object.

PT401: the caller is not a user. PT422: a field is not valid.$$;
alter function api.create_memory(uuid, uuid, text, text, jsonb) owner to cardbase_api;
revoke all on function api.create_memory(uuid, uuid, text, text, jsonb) from public;
grant execute on function api.create_memory(uuid, uuid, text, text, jsonb) to cardbase_gateway, cardbase_service;
