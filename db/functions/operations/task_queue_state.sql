-- Whether jobs are carried out, for who asks after the service's health. It needs no tenant.
-- Answers connected, a worker is alive; disconnected, none is, though one died or jobs have waited for a minute;
-- disabled, there is none, and nothing for it to do.
create or replace function api.task_queue_state()
returns text
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
return app.find_task_queue_state();

comment on function api.task_queue_state() is
$$Whether jobs are carried out: connected, disconnected or disabled.

@internal$$;
alter function api.task_queue_state() owner to cardbase_api;
revoke all on function api.task_queue_state() from public;
grant execute on function api.task_queue_state() to cardbase_gateway, cardbase_service;
