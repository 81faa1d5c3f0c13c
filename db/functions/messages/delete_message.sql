-- Deletes one of the caller's messages. Its row stays, but is no longer found.
--   tenant_id, user_id   the caller's tenant and user
--   id                   the message
-- Returns 204.
-- Errors: PT401 unauthenticated, the caller is not a user; PT404 message_not_found, also the second time.
create or replace function api.delete_message(tenant_id uuid, user_id uuid, id uuid)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.set_caller(delete_message.tenant_id, delete_message.user_id);

    return app.delete_resource('messages', delete_message.id);
end;
$$;

comment on function api.delete_message(uuid, uuid, uuid) is
$$Deletes a message.

PT401: the caller is not a user. PT404: the caller has no such message, or it was deleted before.$$;
alter function api.delete_message(uuid, uuid, uuid) owner to cardbase_api;
revoke all on function api.delete_message(uuid, uuid, uuid) from public;
grant execute on function api.delete_message(uuid, uuid, uuid) to cardbase_gateway, cardbase_service;
