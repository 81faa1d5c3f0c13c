-- Gets one of the caller's messages.
--   tenant_id, user_id   the caller's tenant and user
--   id                   the message
-- Returns 200 with the message.
-- Errors: PT401 unauthenticated, the caller is not a user; PT404 message_not_found, for a deleted one, too.
create or replace function api.get_message(tenant_id uuid, user_id uuid, id uuid)
returns api.reply
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.set_caller(get_message.tenant_id, get_message.user_id);

    return app.get_resource('messages', get_message.id);
end;
$$;

comment on function api.get_message(uuid, uuid, uuid) is
$$Gets a message.

PT401: the caller is not a user. PT404: the caller has no such message, or it was deleted.$$;
alter function api.get_message(uuid, uuid, uuid) owner to cardbase_api;
revoke all on function api.get_message(uuid, uuid, uuid) from public;
grant execute on function api.get_message(uuid, uuid, uuid) to cardbase_gateway, cardbase_service;
