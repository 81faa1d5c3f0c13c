-- Counts an attempt, and locks what it counts until the transaction ends.
--   subjects   what to count it for: different texts, of which only hashes are stored, so that the table doesn't
--              reveal who tried
--   step       1; 0 only locks, so that concurrent attempts are examined one after the other
create or replace function app.count_attempts(subjects text[], step integer)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    _now constant timestamptz := clock_timestamp();
    _expires_at constant timestamptz := (
        select _now + make_interval(secs => limits.window_seconds)
        from app.sign_in_limits() as limits
    );
begin
    insert into app.login_attempts as standing (subject, attempts, expires_at)
    select
        sha256(convert_to(sent.subject, 'UTF8')) as subject,
        count_attempts.step,
        _expires_at
    from unnest(count_attempts.subjects) as sent (subject)
    -- In the order of the key, so that two attempts can't deadlock.
    order by 1
    on conflict on constraint login_attempts_pkey do update
        set
            attempts = case
                when standing.expires_at <= _now then count_attempts.step
                -- Beyond the maximum the number doesn't matter, and must not overflow.
                else least(standing.attempts, 1000000) + count_attempts.step
            end,
            expires_at = case when standing.expires_at <= _now then excluded.expires_at else standing.expires_at end;
end;
$$;

comment on function app.count_attempts(text[], integer) is
$$Counts an attempt, and locks what it counts until the transaction ends.$$;
revoke all on function app.count_attempts(text[], integer) from public;
grant execute on function app.count_attempts(text[], integer) to cardbase_authenticator;
