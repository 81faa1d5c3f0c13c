-- Changes one of the caller's memories.
--   tenant_id, user_id   the caller's tenant and user
--   id                   the memory
--   content              what to remember, 1 to 100,000 characters
--   memory_type          of what kind it is, 1 to 50 characters
--   metadata             an object
-- A null leaves the field as it was. Returns 200 with the memory; of new content a job computes the embedding
-- (app.enqueue_embedding).
-- Errors: PT401 unauthenticated, the caller is not a user; PT404 memory_not_found; PT422 validation_error.
create or replace function api.update_memory(
    tenant_id uuid,
    user_id uuid,
    id uuid,
    content text default null,
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
    perform app.set_caller(update_memory.tenant_id, update_memory.user_id);

    _reply := app.update_resource(
        'memories',
        update_memory.id,
        jsonb_build_object(
            'content', update_memory.content,
            'memory_type', update_memory.memory_type,
            'metadata', update_memory.metadata
        )
    );
    if update_memory.content is not null then
        perform app.enqueue_embedding(update_memory.id);
    end if;

    return _reply;
end;
$$;

comment on function api.update_memory(uuid, uuid, uuid, text, text, jsonb) is
$$Changes the given fields of a memory.

PT401: the caller is not a user. PT404: the caller has no such memory, or it was deleted. PT422: a field is not
valid.$$;
alter function api.update_memory(uuid, uuid, uuid, text, text, jsonb) owner to cardbase_api;
revoke all on function api.update_memory(uuid, uuid, uuid, text, text, jsonb) from public;
grant execute on function api.update_memory(uuid, uuid, uuid, text, text, jsonb) to cardbase_gateway, cardbase_service;
