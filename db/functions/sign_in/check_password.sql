-- Compares a password's hash with an account's: the one way from an email address to a tenant.
--   email           as sent, in any case
--   network         where the attempt comes from
--   password_hash   the password, hashed with what app.find_salt returned
-- Returns {"tenant_id", "user_id", "is_right"}, the ids null when nobody has the address; or {"seconds"}, how long to
-- wait before this account may be tried again from there: then nothing was compared.
-- Concurrent attempts are compared one after the other, so that no more are than there may be. Only failures count.
create or replace function app.check_password(email text, network text, password_hash text)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _subjects constant text[] := app.sign_in_subjects(check_password.email, check_password.network);
    _seconds integer;
    _credential app.credentials;
    _is_right boolean;
begin
    perform app.count_attempts(_subjects, 0);
    _seconds := app.sign_in_wait(_subjects);

    if _seconds is not null then
        return jsonb_build_object('seconds', _seconds);
    end if;

    select credential.*
    into _credential
    from app.credentials as credential
    where
        credential.tenant_id = '00000000-0000-0000-0000-000000000000'
        and credential.email = lower(check_password.email collate "C");

    -- By their hashes: how long it takes tells nothing about where they differ.
    _is_right := coalesce(
        sha256(convert_to(_credential.password_hash, 'UTF8')) = sha256(convert_to(check_password.password_hash, 'UTF8')),
        false
    );

    if _is_right then
        perform app.forgive_attempts(_subjects[1]);
    else
        perform app.count_attempts(_subjects, 1);
    end if;

    return jsonb_build_object(
        'tenant_id', _credential.home_tenant_id, 'user_id', _credential.user_id, 'is_right', _is_right
    );
end;
$$;

comment on function app.check_password(text, text, text) is
$$Compares a password's hash with an account's, and counts the attempt; or returns how long to wait.$$;
alter function app.check_password(text, text, text) owner to cardbase_authenticator;
revoke all on function app.check_password(text, text, text) from public;
grant execute on function app.check_password(text, text, text) to cardbase_api;
