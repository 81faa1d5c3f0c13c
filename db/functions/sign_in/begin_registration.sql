-- Counts a registration from an address, before its password is hashed: hashing is the expensive part.
--   address                where it comes from
--   attempts_per_address   how many are allowed from one address within 15 minutes
-- Returns 200, or 429 with Retry-After. A reply and not an error: what was counted has to stay.
create or replace function api.begin_registration(address text, attempts_per_address integer)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _seconds constant integer := app.count_attempts(
        array['registration:' || begin_registration.address],
        array[begin_registration.attempts_per_address],
        15 * 60
    );
begin
    if _seconds is not null then
        return row(429, jsonb_build_object('Retry-After', _seconds::text), null, null)::api.reply;
    end if;

    return row(200, null, null, null)::api.reply;
end;
$$;

comment on function api.begin_registration(text, integer) is
$$Counts a registration from an address.

@internal
Returns 200, or 429 and how long to wait.$$;
alter function api.begin_registration(text, integer) owner to cardbase_api;
revoke all on function api.begin_registration(text, integer) from public;
grant execute on function api.begin_registration(text, integer) to cardbase_gateway;
