-- What a password has to be hashed with, so that it can be compared with an account's.
--   email     as sent, in any case
--   network   where the attempt comes from
-- Returns {"salt": "$argon2id$<version>$<parameters>$<salt>"}, null when nobody has the address; or {"seconds"}, how
-- long to wait before this account may be tried again from there. It saves hashing; app.check_password decides.
-- The hash itself never leaves the database.
create or replace function app.find_salt(email text, network text)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _seconds constant integer := app.sign_in_wait(app.sign_in_subjects(find_salt.email, find_salt.network));
begin
    if _seconds is not null then
        return jsonb_build_object('seconds', _seconds);
    end if;

    return jsonb_build_object(
        'salt',
        (
            select regexp_replace(credential.password_hash, '[$][^$]*$', '')
            from app.credentials as credential
            where
                credential.tenant_id = '00000000-0000-0000-0000-000000000000'
                and credential.email = lower(find_salt.email collate "C")
        )
    );
end;
$$;

comment on function app.find_salt(text, text) is
$$What a password has to be hashed with, so that it can be compared with an account's; or how long to wait.$$;
alter function app.find_salt(text, text) owner to cardbase_authenticator;
revoke all on function app.find_salt(text, text) from public;
grant execute on function app.find_salt(text, text) to cardbase_api;
