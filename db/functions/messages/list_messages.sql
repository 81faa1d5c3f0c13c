-- Lists the messages of a conversation of the caller's, in the order they were said.
--   tenant_id, user_id   the caller's tenant and user
--   conversation_id      the conversation
--   page, per_page       the page, from 1, and how many fit on it, 1 to 1,000
--   role                 only of this role; null: all
--   "order"              asc: the first message first; desc: the last; null: asc
-- Returns 200 with the messages of the page, and meta {page, per_page, total, total_pages}.
-- Errors: PT401 unauthenticated, the caller is not a user; PT404 conversation_not_found; PT422 validation_error.
create or replace function api.list_messages(
    tenant_id uuid,
    user_id uuid,
    conversation_id uuid,
    page integer default 1,
    per_page integer default 20,
    role text default null,
    "order" text default null
)
returns api.reply
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _order constant text := coalesce(list_messages."order", 'asc');
begin
    perform app.set_caller(list_messages.tenant_id, list_messages.user_id);
    perform app.check_choice('order', _order, array['asc', 'desc']);

    perform
    from app.conversations as conversation
    where
        conversation.tenant_id = list_messages.tenant_id
        and conversation.user_id = list_messages.user_id
        and conversation.id = list_messages.conversation_id
        and conversation.deleted_at is null;

    if not found then
        perform app.resource_not_found('conversations', list_messages.conversation_id, 'conversation_id');
    end if;

    return app.list_resources(
        'messages',
        list_messages.page,
        list_messages.per_page,
        jsonb_build_object('conversation_id', list_messages.conversation_id, 'role', list_messages.role),
        order_column => 'position',
        is_ascending => _order = 'asc'
    );
end;
$$;

comment on function api.list_messages(uuid, uuid, uuid, integer, integer, text, text) is
$$Lists the messages of a conversation, in the order they were said, a page at a time.

With order "desc" the last comes first. Returns the page and in meta page, per_page, total, total_pages.

PT401: the caller is not a user. PT404: the caller has no such conversation, or it was deleted. PT422: page, per_page or
order is not valid.$$;
alter function api.list_messages(uuid, uuid, uuid, integer, integer, text, text) owner to cardbase_api;
revoke all on function api.list_messages(uuid, uuid, uuid, integer, integer, text, text) from public;
grant execute on function api.list_messages(uuid, uuid, uuid, integer, integer, text, text)
to cardbase_gateway, cardbase_service;
