-- Changes one of the caller's messages.
--   tenant_id, user_id   the caller's tenant and user
--   id                   the message
--   content              1 to 100,000 characters
--   metadata             an object
-- A null leaves the field as it was. Returns 200 with the message.
-- Errors: PT401 unauthenticated, the caller is not a user; PT404 message_not_found; PT422 validation_error.
create or replace function api.update_message(
    tenant_id uuid,
    user_id uuid,
    id uuid,
    content text default null,
    metadata jsonb default null
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.set_caller(update_message.tenant_id, update_message.user_id);

    return app.update_resource(
        'messages',
        update_message.id,
        jsonb_build_object('content', update_message.content, 'metadata', update_message.metadata)
    );
end;
$$;

comment on function api.update_message(uuid, uuid, uuid, text, jsonb) is
$$Changes the given fields of a message.

PT401: the caller is not a user. PT404: the caller has no such message, or it was deleted. PT422: a field is not
valid.$$;
alter function api.update_message(uuid, uuid, uuid, text, jsonb) owner to cardbase_api;
revoke all on function api.update_message(uuid, uuid, uuid, text, jsonb) from public;
grant execute on function api.update_message(uuid, uuid, uuid, text, jsonb) to cardbase_gateway, cardbase_service;
