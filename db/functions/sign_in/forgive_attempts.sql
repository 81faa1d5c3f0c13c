-- Takes back what app.count_attempts counted for an attempt that was right: only failures add up.
--   account   its subject is removed, with the failures before
--   address   its subject's count goes down by this one attempt: failures for other accounts stay
create or replace function app.forgive_attempts(account text, address text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    with forgiven as materialized (
        select
            standing.subject,
            standing.subject = sha256(convert_to(forgive_attempts.account, 'UTF8')) as is_account
        from app.login_attempts as standing
        where
            standing.tenant_id = '00000000-0000-0000-0000-000000000000'
            and standing.subject in (
                sha256(convert_to(forgive_attempts.account, 'UTF8')),
                sha256(convert_to(forgive_attempts.address, 'UTF8'))
            )
        order by standing.subject
        for no key update
    )

    update app.login_attempts as standing
    set attempts = case when forgiven.is_account then 0 else greatest(standing.attempts - 1, 0) end
    from forgiven
    where
        standing.tenant_id = '00000000-0000-0000-0000-000000000000'
        and standing.subject = forgiven.subject;
end;
$$;

comment on function app.forgive_attempts(text, text) is
$$Takes back what was counted for an attempt that was right: only failures add up.$$;
alter function app.forgive_attempts(text, text) owner to cardbase_authenticator;
revoke all on function app.forgive_attempts(text, text) from public;
grant execute on function app.forgive_attempts(text, text) to cardbase_api;
