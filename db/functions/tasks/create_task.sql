-- Creates a task for the caller.
--   tenant_id, user_id   the caller's tenant and user
--   title                1 to 500 characters
--   description          1 to 20,000 characters
--   status               pending, in_progress, completed or cancelled; null: pending
--   priority             low, medium, high or urgent; null: medium
--   due_at               when it has to be done
-- Returns 201 with the task.
-- Errors: PT401 unauthenticated, the caller is not a user; PT422 validation_error.
create or replace function api.create_task(
    tenant_id uuid,
    user_id uuid,
    title text,
    description text default null,
    status text default null,
    priority text default null,
    due_at timestamptz default null
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.set_caller(create_task.tenant_id, create_task.user_id);

    return app.create_resource(
        'tasks',
        jsonb_build_object(
            'title', create_task.title,
            'description', create_task.description,
            'status', create_task.status,
            'priority', create_task.priority,
            'due_at', create_task.due_at
        )
    );
end;
$$;

comment on function api.create_task(uuid, uuid, text, text, text, text, timestamptz) is
$$Creates a task.

status is pending, in_progress, completed or cancelled, else pending; priority is low, medium, high or urgent, else
medium.

PT401: the caller is not a user. PT422: a field is not valid.$$;
alter function api.create_task(uuid, uuid, text, text, text, text, timestamptz) owner to cardbase_api;
revoke all on function api.create_task(uuid, uuid, text, text, text, text, timestamptz) from public;
grant execute on function api.create_task(uuid, uuid, text, text, text, text, timestamptz)
to cardbase_gateway, cardbase_service;
