-- Gets one of the caller's tasks.
--   tenant_id, user_id   the caller's tenant and user
--   id                   the task
-- Returns 200 with the task.
-- Errors: PT401 unauthenticated, the caller is not a user; PT404 task_not_found, for a deleted one, too.
create or replace function api.get_task(tenant_id uuid, user_id uuid, id uuid)
returns api.reply
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.set_caller(get_task.tenant_id, get_task.user_id);

    return app.get_resource('tasks', get_task.id);
end;
$$;

comment on function api.get_task(uuid, uuid, uuid) is
$$Gets a task.

PT401: the caller is not a user. PT404: the caller has no such task, or it was deleted.$$;
alter function api.get_task(uuid, uuid, uuid) owner to cardbase_api;
revoke all on function api.get_task(uuid, uuid, uuid) from public;
grant execute on function api.get_task(uuid, uuid, uuid) to cardbase_gateway, cardbase_service;
