-- A memory as callers see it.
create or replace function app.memory_document(memory app.memories)
returns jsonb
language sql
stable
parallel safe
return jsonb_build_object(
    'id', (memory_document.memory).id,
    'content', (memory_document.memory).content,
    'memory_type', (memory_document.memory).memory_type,
    'metadata', (memory_document.memory).metadata,
    'created_at', (memory_document.memory).created_at,
    'updated_at', (memory_document.memory).updated_at
);

comment on function app.memory_document(app.memories) is
$$A memory as callers see it: its row as one JSON object.$$;
revoke all on function app.memory_document(app.memories) from public;
grant execute on function app.memory_document(app.memories) to cardbase_api;
