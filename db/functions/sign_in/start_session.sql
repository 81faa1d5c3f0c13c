-- Signs in a user whose password was right.
--   tenant_id, user_id   as api.begin_login returned
--   email, address       as given to api.begin_login: the attempt is forgiven
--   token_hash           SHA-256 of the first refresh token
--   valid_days           for how long that token is good
-- Returns 200 with the user.
-- Errors: PT404 user_not_found, the user was deleted meanwhile.
create or replace function api.start_session(
    tenant_id uuid,
    user_id uuid,
    email text,
    address text,
    token_hash bytea,
    valid_days integer
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.set_caller(start_session.tenant_id, start_session.user_id);
    perform app.forgive_attempts('account:' || lower(start_session.email), 'address:' || start_session.address);
    perform app.open_session(start_session.token_hash, start_session.valid_days);

    return app.get_resource('users', start_session.user_id, 'user_id');
end;
$$;

comment on function api.start_session(uuid, uuid, text, text, bytea, integer) is
$$Signs in a user whose password was right.

@internal
PT404: the user was deleted.$$;
alter function api.start_session(uuid, uuid, text, text, bytea, integer) owner to cardbase_api;
revoke all on function api.start_session(uuid, uuid, text, text, bytea, integer) from public;
grant execute on function api.start_session(uuid, uuid, text, text, bytea, integer) to cardbase_gateway;
