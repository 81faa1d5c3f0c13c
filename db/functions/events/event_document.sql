-- An event as listeners receive it: {"type", "resource_id", "created_at", "data"}.
create or replace function app.event_document(event app.events)
returns jsonb
language sql
stable
parallel safe
return jsonb_build_object(
    'type', (event_document.event).event_type,
    'resource_id', (event_document.event).resource_id,
    'created_at', (event_document.event).created_at,
    'data', (event_document.event).data
);

comment on function app.event_document(app.events) is
$$An event as listeners receive it: type, resource_id, created_at, data.$$;
revoke all on function app.event_document(app.events) from public;
grant execute on function app.event_document(app.events) to cardbase_api;
