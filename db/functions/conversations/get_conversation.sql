-- Gets one of the caller's conversations.
--   tenant_id, user_id   the caller's tenant and user
--   id                   the conversation
-- Returns 200 with the conversation.
-- Errors: PT401 unauthenticated, the caller is not a user; PT404 conversation_not_found, for a deleted one, too.
create or replace function api.get_conversation(tenant_id uuid, user_id uuid, id uuid)
returns api.reply
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.set_caller(get_conversation.tenant_id, get_conversation.user_id);

    return app.get_resource('conversations', get_conversation.id);
end;
$$;

comment on function api.get_conversation(uuid, uuid, uuid) is
$$Gets a conversation.

PT401: the caller is not a user. PT404: the caller has no such conversation, or it was deleted.$$;
alter function api.get_conversation(uuid, uuid, uuid) owner to cardbase_api;
revoke all on function api.get_conversation(uuid, uuid, uuid) from public;
grant execute on function api.get_conversation(uuid, uuid, uuid) to cardbase_gateway, cardbase_service;
