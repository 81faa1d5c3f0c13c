-- What the user of an email address signs in with: the one way from an address to a tenant.
--   email   in lower case
-- Returns {"tenant_id", "user_id", "password_hash"}, or null when nobody has the address. It sees nothing else of
-- a tenant: its role reads only the table of credentials.
create or replace function app.find_credentials(email text)
returns jsonb
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
begin atomic
    select
        jsonb_build_object(
            'tenant_id', credential.home_tenant_id,
            'user_id', credential.user_id,
            'password_hash', credential.password_hash
        )
    from app.credentials as credential
    where
        credential.tenant_id = '00000000-0000-0000-0000-000000000000'
        and credential.email = find_credentials.email;
end;

comment on function app.find_credentials(text) is
$$What the user of an email address signs in with, and whose user it is; null when nobody has the address.$$;
alter function app.find_credentials(text) owner to cardbase_authenticator;
revoke all on function app.find_credentials(text) from public;
grant execute on function app.find_credentials(text) to cardbase_api;
