-- Deletes one of the caller's conversations, and its messages. The rows stay, but are no longer found.
--   tenant_id, user_id   the caller's tenant and user
--   id                   the conversation
-- Returns 204. A concurrent message is either before it, and deleted, too, or finds no conversation.
-- Errors: PT401 unauthenticated, the caller is not a user; PT404 conversation_not_found, also the second time.
create or replace function api.delete_conversation(tenant_id uuid, user_id uuid, id uuid)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _reply api.reply;
begin
    perform app.set_caller(delete_conversation.tenant_id, delete_conversation.user_id);

    -- The conversation first: its row is what api.create_messages locks.
    _reply := app.delete_resource('conversations', delete_conversation.id);

    update app.messages as message
    set deleted_at = clock_timestamp()
    where
        message.tenant_id = delete_conversation.tenant_id
        and message.user_id = delete_conversation.user_id
        and message.conversation_id = delete_conversation.id
        and message.deleted_at is null;

    return _reply;
end;
$$;

comment on function api.delete_conversation(uuid, uuid, uuid) is
$$Deletes a conversation and its messages.

PT401: the caller is not a user. PT404: the caller has no such conversation, or it was deleted before.$$;
alter function api.delete_conversation(uuid, uuid, uuid) owner to cardbase_api;
revoke all on function api.delete_conversation(uuid, uuid, uuid) from public;
grant execute on function api.delete_conversation(uuid, uuid, uuid) to cardbase_gateway, cardbase_service;
