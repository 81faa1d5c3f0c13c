-- Lists the caller's memories, newest first.
--   tenant_id, user_id   the caller's tenant and user
--   page, per_page       the page, from 1, and how many fit on it, 1 to 1,000
--   memory_type          only of this kind; null: all
--   q                    only those whose content contains this text, in upper or lower case; null: all
-- Returns 200 with the memories of the page, and meta {page, per_page, total, total_pages}.
-- Errors: PT401 unauthenticated, the caller is not a user; PT422 validation_error.
create or replace function api.list_memories(
    tenant_id uuid,
    user_id uuid,
    page integer default 1,
    per_page integer default 20,
    memory_type text default null,
    q text default null
)
returns api.reply
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.set_caller(list_memories.tenant_id, list_memories.user_id);

    return app.list_resources(
        'memories',
        list_memories.page,
        list_memories.per_page,
        jsonb_build_object('memory_type', list_memories.memory_type),
        'content',
        list_memories.q
    );
end;
$$;

comment on function api.list_memories(uuid, uuid, integer, integer, text, text) is
$$Lists memories, newest first, a page at a time.

Filters narrow the list: memory_type, q. Returns the page and in meta page, per_page, total, total_pages.

PT401: the caller is not a user. PT422: page or per_page is out of range.$$;
alter function api.list_memories(uuid, uuid, integer, integer, text, text) owner to cardbase_api;
revoke all on function api.list_memories(uuid, uuid, integer, integer, text, text) from public;
grant execute on function api.list_memories(uuid, uuid, integer, integer, text, text)
to cardbase_gateway, cardbase_service;
