-- Changes one of the caller's tasks.
--   tenant_id, user_id   the caller's tenant and user
--   id                   the task
--   title                1 to 500 characters
--   description          1 to 20,000 characters
--   status               pending, in_progress, completed or cancelled
--   priority             low, medium, high or urgent
--   due_at               when it has to be done
--   cleared_fields       fields to empty: description, due_at
-- A null leaves the field as it was. Returns 200 with the task.
-- Errors: PT401 unauthenticated, the caller is not a user; PT404 task_not_found; PT422 validation_error.
create or replace function api.update_task(
    tenant_id uuid,
    user_id uuid,
    id uuid,
    title text default null,
    description text default null,
    status text default null,
    priority text default null,
    due_at timestamptz default null,
    cleared_fields text[] default '{}'
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.set_caller(update_task.tenant_id, update_task.user_id);

    return app.update_resource(
        'tasks',
        update_task.id,
        jsonb_build_object(
            'title', update_task.title,
            'description', update_task.description,
            'status', update_task.status,
            'priority', update_task.priority,
            'due_at', update_task.due_at
        ),
        update_task.cleared_fields
    );
end;
$$;

comment on function api.update_task(uuid, uuid, uuid, text, text, text, text, timestamptz, text[]) is
$$Changes the given fields of a task and empties those that cleared_fields names.

PT401: the caller is not a user. PT404: the caller has no such task, or it was deleted. PT422: a field is not valid.$$;
alter function api.update_task(uuid, uuid, uuid, text, text, text, text, timestamptz, text[]) owner to cardbase_api;
revoke all on function api.update_task(uuid, uuid, uuid, text, text, text, text, timestamptz, text[]) from public;
grant execute on function api.update_task(uuid, uuid, uuid, text, text, text, text, timestamptz, text[])
to cardbase_gateway, cardbase_service;
