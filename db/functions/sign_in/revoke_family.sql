-- Revokes a family of refresh tokens: what one sign-in led to.
-- For the tenant and user of the transaction, as app.set_caller set them.
--
-- One update alone would miss a token that another transaction is adding. Whoever adds one has locked its predecessor,
-- which is of the family, so the update waits for it: it is repeated until nothing is left.
create or replace function app.revoke_family(family_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    loop
        update app.refresh_tokens as token
        set revoked_at = clock_timestamp()
        where
            token.tenant_id = app.current_tenant_id()
            and token.user_id = app.current_user_id()
            and token.family_id = revoke_family.family_id
            and token.revoked_at is null;

        exit when not found;
    end loop;
end;
$$;

comment on function app.revoke_family(uuid) is
$$Revokes a family of refresh tokens.$$;
revoke all on function app.revoke_family(uuid) from public;
grant execute on function app.revoke_family(uuid) to cardbase_api;
