-- Exchanges a refresh token for the next one of its family.
--   tenant_id, user_id   whose token it is; the token itself says so, and only theirs are looked at
--   token_hash           SHA-256 of the token
--   next_token_hash      SHA-256 of the next
--   valid_days           how long the next one is valid
-- Returns 200 with the user; or 401 when the token is unknown, has expired or was revoked, and when it was used before:
-- then either a thief or the owner came second, and the whole family is revoked. A reply and not an error, which would
-- undo just that.
-- Of two concurrent exchanges one succeeds: the other waits for the row and then finds the token used.
create or replace function api.refresh_session(
    tenant_id uuid,
    user_id uuid,
    token_hash bytea,
    next_token_hash bytea,
    valid_days integer
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _now constant timestamptz := clock_timestamp();
    _token app.refresh_tokens;
begin
    perform app.set_caller(refresh_session.tenant_id, refresh_session.user_id);

    select token.*
    into _token
    from app.refresh_tokens as token
    where
        token.tenant_id = refresh_session.tenant_id
        and token.user_id = refresh_session.user_id
        and token.token_hash = refresh_session.token_hash
    for no key update;

    if not found or _token.revoked_at is not null or _token.expires_at <= _now then
        return row(401, null, null, null)::api.reply;
    end if;

    if _token.used_at is not null then
        perform app.revoke_family(_token.family_id);

        return row(401, null, null, null)::api.reply;
    end if;

    update app.refresh_tokens as token
    set used_at = _now
    where
        token.tenant_id = refresh_session.tenant_id
        and token.user_id = refresh_session.user_id
        and token.token_hash = refresh_session.token_hash;

    insert into app.refresh_tokens as token (tenant_id, user_id, token_hash, family_id, expires_at)
    values (
        refresh_session.tenant_id,
        refresh_session.user_id,
        refresh_session.next_token_hash,
        _token.family_id,
        _now + make_interval(days => refresh_session.valid_days)
    );

    return app.get_resource('users', refresh_session.user_id, 'user_id');
end;
$$;

comment on function api.refresh_session(uuid, uuid, bytea, bytea, integer) is
$$Exchanges a refresh token for the next one of its family.

@internal
Returns 200, or 401: the token is not valid. One that was used before revokes its family.$$;
alter function api.refresh_session(uuid, uuid, bytea, bytea, integer) owner to cardbase_api;
revoke all on function api.refresh_session(uuid, uuid, bytea, bytea, integer) from public;
grant execute on function api.refresh_session(uuid, uuid, bytea, bytea, integer) to cardbase_gateway;
