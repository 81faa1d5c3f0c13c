-- Begins a family of refresh tokens with its first, for a user who has just been authenticated.
--   token_hash   SHA-256 of the token
--   valid_days   how long it is valid
-- For the tenant and user of the transaction, as app.set_caller set them. It doesn't use app.create_resource: a token
-- is never shown.
create or replace function app.open_session(token_hash bytea, valid_days integer)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into app.refresh_tokens as token (tenant_id, user_id, token_hash, family_id, expires_at)
    values (
        app.current_tenant_id(),
        app.current_user_id(),
        open_session.token_hash,
        app.uuid_v7(),
        clock_timestamp() + make_interval(days => open_session.valid_days)
    );
end;
$$;

comment on function app.open_session(bytea, integer) is
$$Begins a family of refresh tokens with its first.$$;
revoke all on function app.open_session(bytea, integer) from public;
grant execute on function app.open_session(bytea, integer) to cardbase_api;
