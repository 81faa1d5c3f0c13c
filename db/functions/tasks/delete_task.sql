-- Deletes one of the caller's tasks. Its row stays, but is no longer found.
--   tenant_id, user_id   the caller's tenant and user
--   id                   the task
-- Returns 204.
-- Errors: PT401 unauthenticated, the caller is not a user; PT404 task_not_found, also the second time.
create or replace function api.delete_task(tenant_id uuid, user_id uuid, id uuid)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.set_caller(delete_task.tenant_id, delete_task.user_id);

    return app.delete_resource('tasks', delete_task.id);
end;
$$;

comment on function api.delete_task(uuid, uuid, uuid) is
$$Deletes a task.

PT401: the caller is not a user. PT404: the caller has no such task, or it was deleted before.$$;
alter function api.delete_task(uuid, uuid, uuid) owner to cardbase_api;
revoke all on function api.delete_task(uuid, uuid, uuid) from public;
grant execute on function api.delete_task(uuid, uuid, uuid) to cardbase_gateway, cardbase_service;
