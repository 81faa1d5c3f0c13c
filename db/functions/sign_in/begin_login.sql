-- Counts an attempt to sign in, and finds the hash to compare the password with.
--   email                   as sent
--   address                 where the attempt comes from
--   attempts_per_account    how many may fail within 15 minutes: for one email address, known or not,
--   attempts_per_address    and from one network address
-- Returns 200 {"tenant_id", "user_id", "password_hash"}, with a null body when nobody has the email address; 429 with
-- Retry-After. A reply and not an error: what was counted has to stay.
create or replace function api.begin_login(
    email text,
    address text,
    attempts_per_account integer,
    attempts_per_address integer
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _email constant text := lower(begin_login.email);
    _seconds constant integer := app.count_attempts(
        array['account:' || _email, 'address:' || begin_login.address],
        array[begin_login.attempts_per_account, begin_login.attempts_per_address],
        15 * 60
    );
begin
    if _seconds is not null then
        return row(429, jsonb_build_object('Retry-After', _seconds::text), null, null)::api.reply;
    end if;

    return row(200, null, app.find_credentials(_email), null)::api.reply;
end;
$$;

comment on function api.begin_login(text, text, integer, integer) is
$$Counts an attempt to sign in, and finds the hash to compare the password with.

@internal
Returns 200, or 429 and how long to wait.$$;
alter function api.begin_login(text, text, integer, integer) owner to cardbase_api;
revoke all on function api.begin_login(text, text, integer, integer) from public;
grant execute on function api.begin_login(text, text, integer, integer) to cardbase_gateway;
