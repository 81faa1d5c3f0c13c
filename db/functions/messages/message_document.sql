-- A message as callers see it.
create or replace function app.message_document(message app.messages)
returns jsonb
language sql
stable
parallel safe
return jsonb_build_object(
    'id', (message_document.message).id,
    'conversation_id', (message_document.message).conversation_id,
    'position', (message_document.message).position,
    'role', (message_document.message).role,
    'content', (message_document.message).content,
    'metadata', (message_document.message).metadata,
    'created_at', (message_document.message).created_at,
    'updated_at', (message_document.message).updated_at
);

comment on function app.message_document(app.messages) is
$$A message as callers see it: its row as one JSON object.$$;
revoke all on function app.message_document(app.messages) from public;
grant execute on function app.message_document(app.messages) to cardbase_api;
