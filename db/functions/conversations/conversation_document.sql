-- A conversation as callers see it.
create or replace function app.conversation_document(conversation app.conversations)
returns jsonb
language sql
stable
parallel safe
return jsonb_build_object(
    'id', (conversation_document.conversation).id,
    'title', (conversation_document.conversation).title,
    'metadata', (conversation_document.conversation).metadata,
    'message_count', (conversation_document.conversation).message_count,
    'last_message_at', (conversation_document.conversation).last_message_at,
    'created_at', (conversation_document.conversation).created_at,
    'updated_at', (conversation_document.conversation).updated_at
);

comment on function app.conversation_document(app.conversations) is
$$A conversation as callers see it: its row as one JSON object.$$;
revoke all on function app.conversation_document(app.conversations) from public;
grant execute on function app.conversation_document(app.conversations) to cardbase_api;
