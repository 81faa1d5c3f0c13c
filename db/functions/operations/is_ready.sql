-- Whether this database is deployed and its tables answer.
-- Answers true; takes the lock that any reader takes, and waits at most half a second for it.
-- Errors: 55P03, a table is locked; 42P01, a table is missing.
create or replace function api.is_ready()
returns boolean
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '500ms'
as $$
begin
    perform from app.cards limit 1;
    perform from app.card_usage_totals limit 1;
    perform from app.card_usage limit 1;
    perform from app.idempotency_store limit 1;
    return true;
end;
$$;

comment on function api.is_ready() is
$$Whether this database is deployed and its tables answer.

@internal
55P03: a table is locked. 42P01: a table is missing.$$;
alter function api.is_ready() owner to cardbase_api;
revoke all on function api.is_ready() from public;
grant execute on function api.is_ready() to cardbase_gateway, cardbase_service;
