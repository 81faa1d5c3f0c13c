-- The kinds of jobs, with their arguments: {kind: {name: type}}. An argument whose type ends in ? may be left out;
-- types are those of JSON, uuid and any. A test holds the worker's table, gateway/worker/job_kinds.py, to this one.
create or replace function app.job_kinds()
returns jsonb
language sql
immutable
parallel safe
return '{
    "embed_memory": {"memory_id": "uuid"},
    "notify": {"integration_id": "uuid", "event_type": "string", "payload": "any"},
    "notify_user": {"title": "string", "body": "string?", "data": "any?"},
    "sync_integration": {"integration_id": "uuid"},
    "test": {"fail": "boolean?", "message": "string?", "seconds": "number?"}
}'::jsonb;

comment on function app.job_kinds() is
$$The kinds of jobs, with the names and types of their arguments.$$;
revoke all on function app.job_kinds() from public;
grant execute on function app.job_kinds() to cardbase_api;
