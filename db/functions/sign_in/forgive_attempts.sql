-- Forgets the failures of an account from a network, after an attempt that was right. Those of the account and of the
-- network as such stay: whoever knows one password could otherwise guess at others without end.
create or replace function app.forgive_attempts(subject text)
returns void
language sql
volatile
begin atomic
    update app.login_attempts as standing
    set attempts = 0
    where
        standing.tenant_id = '00000000-0000-0000-0000-000000000000'
        and standing.subject = sha256(convert_to(forgive_attempts.subject, 'UTF8'));
end;

comment on function app.forgive_attempts(text) is
$$Forgets the failures of an account from a network, after an attempt that was right.$$;
revoke all on function app.forgive_attempts(text) from public;
grant execute on function app.forgive_attempts(text) to cardbase_authenticator;
