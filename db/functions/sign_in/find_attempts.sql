-- How often something was attempted within its window.
--   subject   what is counted, as given to app.count_attempts
-- Returns 0 attempts when the window is over; seconds: until it is.
-- By the key even where the table is small: else the work would depend on where in the table a row happens to be.
create or replace function app.find_attempts(subject text, out attempts integer, out seconds integer)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
    select
        standing.attempts,
        greatest(ceil(extract(epoch from standing.expires_at - clock_timestamp())), 1)::integer
    into find_attempts.attempts, find_attempts.seconds
    from app.login_attempts as standing
    where
        standing.tenant_id = '00000000-0000-0000-0000-000000000000'
        and standing.subject = sha256(convert_to(find_attempts.subject, 'UTF8'))
        and standing.expires_at > clock_timestamp();

    find_attempts.attempts := coalesce(find_attempts.attempts, 0);
end;
$$;

comment on function app.find_attempts(text) is
$$How often something was attempted within its window, and the seconds until that is over.$$;
revoke all on function app.find_attempts(text) from public;
grant execute on function app.find_attempts(text) to cardbase_authenticator;
