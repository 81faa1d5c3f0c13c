-- Lists the caller's conversations, newest first.
--   tenant_id, user_id   the caller's tenant and user
--   page, per_page       the page, from 1, and how many fit on it, 1 to 1,000
--   q                    only those whose title contains this text, in upper or lower case; null: all
-- Returns 200 with the conversations of the page, and meta {page, per_page, total, total_pages}.
-- Errors: PT401 unauthenticated, the caller is not a user; PT422 validation_error.
create or replace function api.list_conversations(
    tenant_id uuid,
    user_id uuid,
    page integer default 1,
    per_page integer default 20,
    q text default null
)
returns api.reply
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.set_caller(list_conversations.tenant_id, list_conversations.user_id);

    return app.list_resources(
        'conversations',
        list_conversations.page,
        list_conversations.per_page,
        '{}',
        'title',
        list_conversations.q
    );
end;
$$;

comment on function api.list_conversations(uuid, uuid, integer, integer, text) is
$$Lists conversations, newest first, a page at a time.

Filters narrow the list: q. Returns the page and in meta page, per_page, total, total_pages.

PT401: the caller is not a user. PT422: page or per_page is out of range.$$;
alter function api.list_conversations(uuid, uuid, integer, integer, text) owner to cardbase_api;
revoke all on function api.list_conversations(uuid, uuid, integer, integer, text) from public;
grant execute on function api.list_conversations(uuid, uuid, integer, integer, text)
to cardbase_gateway, cardbase_service;
