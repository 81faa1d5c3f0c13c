-- Signs out: the refresh token's family is revoked; without a token, all of the user's.
--   tenant_id, user_id   whose token it is; the token itself says so
--   token_hash           SHA-256 of the token; null: of all the user's
-- Returns 204, also for an unknown token: nothing is revealed about it.
create or replace function api.end_session(tenant_id uuid, user_id uuid, token_hash bytea)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _family_id uuid;
begin
    perform app.set_caller(end_session.tenant_id, end_session.user_id);

    for _family_id in
        select distinct token.family_id
        from app.refresh_tokens as token
        where
            token.tenant_id = end_session.tenant_id
            and token.user_id = end_session.user_id
            and (end_session.token_hash is null or token.token_hash = end_session.token_hash)
            and token.revoked_at is null
    loop
        perform app.revoke_family(_family_id);
    end loop;

    return row(204, null, null, null)::api.reply;
end;
$$;

comment on function api.end_session(uuid, uuid, bytea) is
$$Signs out: the refresh token and all of its family are no longer valid; without a token, all of the user's.

@internal$$;
alter function api.end_session(uuid, uuid, bytea) owner to cardbase_api;
revoke all on function api.end_session(uuid, uuid, bytea) from public;
grant execute on function api.end_session(uuid, uuid, bytea) to cardbase_gateway;
