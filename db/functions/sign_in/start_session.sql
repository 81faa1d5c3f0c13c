-- Signs in with an email address and a password.
--   email           as sent
--   network         where the attempt comes from
--   password_hash   the password, hashed with what api.begin_login returned
--   token_hash      SHA-256 of the first refresh token
--   valid_days      how long that token is valid
-- Returns 200 with the user; 401 when nobody has the address and the password; 429 with Retry-After. Replies and not
-- errors: what was counted has to stay.
-- Errors: PT404 user_not_found, the user was deleted.
create or replace function api.start_session(
    email text,
    network text,
    password_hash text,
    token_hash bytea,
    valid_days integer
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _checked constant jsonb := app.check_password(
        start_session.email, start_session.network, start_session.password_hash
    );
    _user_id constant uuid := (_checked ->> 'user_id')::uuid;
begin
    if _checked ? 'seconds' then
        return app.too_many_attempts((_checked ->> 'seconds')::integer);
    end if;

    if not (_checked ->> 'is_right')::boolean then
        return row(401, null, null, null)::api.reply;
    end if;

    perform app.set_caller((_checked ->> 'tenant_id')::uuid, _user_id);
    perform app.open_session(start_session.token_hash, start_session.valid_days);

    return app.get_resource('users', _user_id, 'user_id');
end;
$$;

comment on function api.start_session(text, text, text, bytea, integer) is
$$Signs in with an email address and a password.

@internal
Returns 200; 401: nobody has the address and the password; 429 and how long to wait. PT404: the user was deleted.$$;
alter function api.start_session(text, text, text, bytea, integer) owner to cardbase_api;
revoke all on function api.start_session(text, text, text, bytea, integer) from public;
grant execute on function api.start_session(text, text, text, bytea, integer) to cardbase_gateway;
