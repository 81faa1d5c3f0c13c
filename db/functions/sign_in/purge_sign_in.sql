-- Removes expired refresh tokens and expired counters of attempts to sign in, of all tenants, a bounded number per
-- call.
--   maximum_rows   how many to remove at most, 1 to 100,000
-- Returns how many were removed; fewer than maximum_rows means that none are left for now.
-- Errors: 22023, maximum_rows is out of range.
-- Rows that a request has locked are skipped, not waited for. Several purges at once share the work.
create or replace function app.purge_sign_in(maximum_rows integer default 1000)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _tokens bigint;
    _attempts bigint;
begin
    perform app.check_parameter('maximum_rows', purge_sign_in.maximum_rows, 100000);

    with due as (
        select
            token.tenant_id,
            token.user_id,
            token.token_hash
        from app.refresh_tokens as token
        where token.expires_at <= now()
        order by token.expires_at
        limit purge_sign_in.maximum_rows
        for update skip locked
    )

    delete from app.refresh_tokens as token
    using due
    where
        token.tenant_id = due.tenant_id
        and token.user_id = due.user_id
        and token.token_hash = due.token_hash;

    get diagnostics _tokens = row_count;

    with due as (
        select
            attempt.tenant_id,
            attempt.subject
        from app.login_attempts as attempt
        where attempt.expires_at <= now()
        order by attempt.expires_at
        limit purge_sign_in.maximum_rows - _tokens
        for update skip locked
    )

    delete from app.login_attempts as attempt
    using due
    where
        attempt.tenant_id = due.tenant_id
        and attempt.subject = due.subject;

    get diagnostics _attempts = row_count;
    return _tokens + _attempts;
end;
$$;

comment on function app.purge_sign_in(integer) is
$$Removes expired refresh tokens and expired counters of attempts to sign in, a bounded number per call.

Returns how many were removed. 22023: maximum_rows is not between 1 and 100,000.$$;
alter function app.purge_sign_in(integer) owner to cardbase_maintenance;
revoke all on function app.purge_sign_in(integer) from public;
grant execute on function app.purge_sign_in(integer) to cardbase_worker;
