-- Gets one of the caller's memories.
--   tenant_id, user_id   the caller's tenant and user
--   id                   the memory
-- Returns 200 with the memory.
-- Errors: PT401 unauthenticated, the caller is not a user; PT404 memory_not_found, for a deleted one, too.
create or replace function api.get_memory(tenant_id uuid, user_id uuid, id uuid)
returns api.reply
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.set_caller(get_memory.tenant_id, get_memory.user_id);

    return app.get_resource('memories', get_memory.id);
end;
$$;

comment on function api.get_memory(uuid, uuid, uuid) is
$$Gets a memory.

PT401: the caller is not a user. PT404: the caller has no such memory, or it was deleted.$$;
alter function api.get_memory(uuid, uuid, uuid) owner to cardbase_api;
revoke all on function api.get_memory(uuid, uuid, uuid) from public;
grant execute on function api.get_memory(uuid, uuid, uuid) to cardbase_gateway, cardbase_service;
