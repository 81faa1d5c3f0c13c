-- A task as callers see it.
create or replace function app.task_document(task app.tasks)
returns jsonb
language sql
stable
parallel safe
return jsonb_build_object(
    'id', (task_document.task).id,
    'title', (task_document.task).title,
    'description', (task_document.task).description,
    'status', (task_document.task).status,
    'priority', (task_document.task).priority,
    'due_at', (task_document.task).due_at,
    'created_at', (task_document.task).created_at,
    'updated_at', (task_document.task).updated_at
);

comment on function app.task_document(app.tasks) is
$$A task as callers see it: its row as one JSON object.$$;
revoke all on function app.task_document(app.tasks) from public;
grant execute on function app.task_document(app.tasks) to cardbase_api;
