-- Lists the caller's tasks, newest first.
--   tenant_id, user_id   the caller's tenant and user
--   page, per_page       the page, from 1, and how many fit on it, 1 to 1,000
--   status               only of this status; null: all
--   priority             only of this priority; null: all
-- Returns 200 with the tasks of the page, and meta {page, per_page, total, total_pages}.
-- Errors: PT401 unauthenticated, the caller is not a user; PT422 validation_error.
create or replace function api.list_tasks(
    tenant_id uuid,
    user_id uuid,
    page integer default 1,
    per_page integer default 20,
    status text default null,
    priority text default null
)
returns api.reply
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.set_caller(list_tasks.tenant_id, list_tasks.user_id);

    return app.list_resources(
        'tasks',
        list_tasks.page,
        list_tasks.per_page,
        jsonb_build_object('status', list_tasks.status, 'priority', list_tasks.priority)
    );
end;
$$;

comment on function api.list_tasks(uuid, uuid, integer, integer, text, text) is
$$Lists tasks, newest first, a page at a time.

Filters narrow the list: status, priority. Returns the page and in meta page, per_page, total, total_pages.

PT401: the caller is not a user. PT422: page or per_page is out of range.$$;
alter function api.list_tasks(uuid, uuid, integer, integer, text, text) owner to cardbase_api;
revoke all on function api.list_tasks(uuid, uuid, integer, integer, text, text) from public;
grant execute on function api.list_tasks(uuid, uuid, integer, integer, text, text)
to cardbase_gateway, cardbase_service;
