-- An argument that /rpc passes to a function, unless it is JSON that is much longer written out than it was sent.
--   name       the parameter's name
--   argument   what the caller sent
-- Returns the argument.
-- Errors: as app.check_json.
create or replace function api.check_argument(name text, argument jsonb)
returns jsonb
language plpgsql
immutable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.check_json(check_argument.name, check_argument.argument, 64000000);
    return check_argument.argument;
end;
$$;

comment on function api.check_argument(text, jsonb) is
$$An argument that /rpc passes to a function, unless it is JSON that is much longer written out than it was sent.

@internal
PT422: a number has more than 1,000 digits; the error's column names its place. PT413: it is too long.$$;
alter function api.check_argument(text, jsonb) owner to cardbase_api;
revoke all on function api.check_argument(text, jsonb) from public;
grant execute on function api.check_argument(text, jsonb) to cardbase_gateway, cardbase_service;
