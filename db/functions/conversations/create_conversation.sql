-- Creates a conversation for the caller.
--   tenant_id, user_id   the caller's tenant and user
--   title                1 to 500 characters
--   metadata             an object; null: {}
-- Returns 201 with the conversation.
-- Errors: PT401 unauthenticated, the caller is not a user; PT422 validation_error.
create or replace function api.create_conversation(
    tenant_id uuid,
    user_id uuid,
    title text default null,
    metadata jsonb default null
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.set_caller(create_conversation.tenant_id, create_conversation.user_id);

    return app.create_resource(
        'conversations',
        jsonb_build_object('title', create_conversation.title, 'metadata', create_conversation.metadata)
    );
end;
$$;

comment on function api.create_conversation(uuid, uuid, text, jsonb) is
$$Creates a conversation.

title has 1 to 500 characters, metadata is an object.

PT401: the caller is not a user. PT422: a field is not valid.$$;
alter function api.create_conversation(uuid, uuid, text, jsonb) owner to cardbase_api;
revoke all on function api.create_conversation(uuid, uuid, text, jsonb) from public;
grant execute on function api.create_conversation(uuid, uuid, text, jsonb) to cardbase_gateway, cardbase_service;
