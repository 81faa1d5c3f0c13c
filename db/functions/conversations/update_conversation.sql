-- Changes one of the caller's conversations.
--   tenant_id, user_id   the caller's tenant and user
--   id                   the conversation
--   title                1 to 500 characters
--   metadata             an object
--   cleared_fields       fields to empty: title
-- A null leaves the field as it was. Returns 200 with the conversation.
-- Errors: PT401 unauthenticated, the caller is not a user; PT404 conversation_not_found; PT422 validation_error.
create or replace function api.update_conversation(
    tenant_id uuid,
    user_id uuid,
    id uuid,
    title text default null,
    metadata jsonb default null,
    cleared_fields text[] default '{}'
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.set_caller(update_conversation.tenant_id, update_conversation.user_id);

    return app.update_resource(
        'conversations',
        update_conversation.id,
        jsonb_build_object('title', update_conversation.title, 'metadata', update_conversation.metadata),
        update_conversation.cleared_fields
    );
end;
$$;

comment on function api.update_conversation(uuid, uuid, uuid, text, jsonb, text[]) is
$$Changes the given fields of a conversation and empties those that cleared_fields names.

PT401: the caller is not a user. PT404: the caller has no such conversation, or it was deleted. PT422: a field is
not valid.$$;
alter function api.update_conversation(uuid, uuid, uuid, text, jsonb, text[]) owner to cardbase_api;
revoke all on function api.update_conversation(uuid, uuid, uuid, text, jsonb, text[]) from public;
grant execute on function api.update_conversation(uuid, uuid, uuid, text, jsonb, text[])
to cardbase_gateway, cardbase_service;
