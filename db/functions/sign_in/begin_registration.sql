-- Counts a registration from a network, before its password is hashed: hashing is the expensive part.
-- Returns 200, or 429 with Retry-After.
create or replace function api.begin_registration(network text)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _seconds constant integer := app.count_registration(begin_registration.network);
begin
    if _seconds is not null then
        return app.too_many_attempts(_seconds);
    end if;

    return row(200, null, null, null)::api.reply;
end;
$$;

comment on function api.begin_registration(text) is
$$Counts a registration from a network.

@internal
Returns 200, or 429 and how long to wait.$$;
alter function api.begin_registration(text) owner to cardbase_api;
revoke all on function api.begin_registration(text) from public;
grant execute on function api.begin_registration(text) to cardbase_gateway;
