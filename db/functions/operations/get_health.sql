-- Whether this database is deployed and its tables can be read, and whether jobs are carried out: what /ready and
-- /health need to know, in one call. It needs no tenant.
-- Returns one row:
--   is_ready     the tables that every call needs can be read
--   task_queue   connected, disconnected or disabled: see app.find_task_queue_state
--   problem      why is_ready is false or the task queue could not be examined, for a log; else null
-- Neither part can fail the other: a lock that somebody else holds is waited for a bounded time only, and it, a missing
-- table or a missing right is that part's result. Both waits together are shorter than the gateway's timeout.
create or replace function api.get_health()
returns table (is_ready boolean, task_queue text, problem text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '300ms'
as $$
declare
    _is_ready boolean := false;
    _task_queue text := 'disconnected';
    _problem text;
begin
    begin
        perform from app.cards limit 1;
        perform from app.card_usage_totals limit 1;
        perform from app.card_usage limit 1;
        perform from app.idempotency_store limit 1;
        _is_ready := true;
    exception
        when lock_not_available or syntax_error_or_access_rule_violation then
            _problem := sqlerrm;
    end;

    begin
        _task_queue := app.find_task_queue_state();
    exception
        -- A database from before there was one.
        when undefined_function then
            _task_queue := 'disabled';
        when lock_not_available or syntax_error_or_access_rule_violation then
            _problem := concat_ws('; ', _problem, sqlerrm);
    end;

    return query values (_is_ready, _task_queue, _problem);
end;
$$;

comment on function api.get_health() is
$$Whether this database is deployed and its tables can be read, and whether jobs are carried out.

@internal
Returns one row: is_ready; task_queue, which is connected, disconnected or disabled; and problem, why one of them is not
well, else null.$$;
alter function api.get_health() owner to cardbase_api;
revoke all on function api.get_health() from public;
grant execute on function api.get_health() to cardbase_gateway, cardbase_service;
