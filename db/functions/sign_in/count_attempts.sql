-- Counts an attempt to sign in, or to register, before it is examined, so that concurrent attempts count, too.
--   subjects         what to count it for: texts such as "account:…" and "address:…"
--   maximums         how many of each are allowed within the window, which begins with the first
--   window_seconds   how long the window is
-- Returns null, or the seconds until the window ends of a subject that has used its attempts up.
-- Only a hash is stored: the table doesn't reveal who tried.
create or replace function app.count_attempts(subjects text[], maximums integer[], window_seconds integer)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _now constant timestamptz := clock_timestamp();
    _seconds integer;
begin
    with counted as (
        select
            sha256(convert_to(sent.subject, 'UTF8')) as subject,
            sent.maximum
        from unnest(count_attempts.subjects, count_attempts.maximums) as sent (subject, maximum)
    ),

    -- In the order of the key, so that two attempts can't deadlock.
    attempt as (
        insert into app.login_attempts as standing (subject, attempts, expires_at)
        select
            counted.subject,
            1,
            _now + make_interval(secs => count_attempts.window_seconds)
        from counted
        order by counted.subject
        on conflict on constraint login_attempts_pkey do update
            set
                attempts = case
                    when standing.expires_at <= _now then 1
                    -- Beyond the maximum the number doesn't matter, and must not overflow.
                    else least(standing.attempts, 1000000) + 1
                end,
                expires_at = case when standing.expires_at <= _now then excluded.expires_at else standing.expires_at end
        returning
            standing.subject,
            standing.attempts,
            standing.expires_at
    )

    select ceil(extract(epoch from max(attempt.expires_at) - _now))
    into _seconds
    from attempt
    inner join counted on counted.subject = attempt.subject
    where attempt.attempts > counted.maximum;

    return case when _seconds is not null then greatest(_seconds, 1) end;
end;
$$;

comment on function app.count_attempts(text[], integer[], integer) is
$$Counts an attempt to sign in or to register; returns the seconds to wait where there were too many, else null.$$;
alter function app.count_attempts(text[], integer[], integer) owner to cardbase_authenticator;
revoke all on function app.count_attempts(text[], integer[], integer) from public;
grant execute on function app.count_attempts(text[], integer[], integer) to cardbase_api;
