-- Begins to sign in: says what to hash the password with.
--   email     as sent
--   network   where the attempt comes from
-- Returns 200 {"salt"}, null when nobody has the email address; 429 with Retry-After.
-- Nothing that is returned tells the password: api.start_session compares.
create or replace function api.begin_login(email text, network text)
returns api.reply
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _found constant jsonb := app.find_salt(begin_login.email, begin_login.network);
begin
    if _found ? 'seconds' then
        return app.too_many_attempts((_found ->> 'seconds')::integer);
    end if;

    return row(200, null, _found, null)::api.reply;
end;
$$;

comment on function api.begin_login(text, text) is
$$Begins to sign in: says what to hash the password with.

@internal
Returns 200, or 429 and how long to wait.$$;
alter function api.begin_login(text, text) owner to cardbase_api;
revoke all on function api.begin_login(text, text) from public;
grant execute on function api.begin_login(text, text) to cardbase_gateway;
