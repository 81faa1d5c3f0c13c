-- Stores what a new user signs in with.
--   email                in lower case
--   password_hash        an argon2id hash, in its own encoding
--   tenant_id, user_id   the user
-- Returns whether it was stored: false when somebody has the address. Of two concurrent calls one succeeds: the key
-- decides.
create or replace function app.store_credentials(email text, password_hash text, tenant_id uuid, user_id uuid)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into app.credentials as credential (email, password_hash, home_tenant_id, user_id)
    values (
        store_credentials.email,
        store_credentials.password_hash,
        store_credentials.tenant_id,
        store_credentials.user_id
    )
    on conflict on constraint credentials_pkey do nothing;

    return found;
end;
$$;

comment on function app.store_credentials(text, text, uuid, uuid) is
$$Stores what a new user signs in with; returns false when somebody has the email address.$$;
alter function app.store_credentials(text, text, uuid, uuid) owner to cardbase_authenticator;
revoke all on function app.store_credentials(text, text, uuid, uuid) from public;
grant execute on function app.store_credentials(text, text, uuid, uuid) to cardbase_api;
