-- How long an account has to wait before it may be tried again from a network.
--   subjects   as app.sign_in_subjects returns them
-- Returns null, or the seconds.
-- Only failures for the same account from the same network lock it, so nobody elsewhere locks an owner out, and an
-- account without failures from a network can always be tried from there. Failures for the account elsewhere, and for
-- others from the network, only lower the number: they may be guesses.
create or replace function app.sign_in_wait(subjects text[])
returns integer
language sql
stable
begin atomic
    select own.seconds
    from app.sign_in_limits() as limits
    cross join app.find_attempts(sign_in_wait.subjects[1]) as own
    cross join app.find_attempts(sign_in_wait.subjects[2]) as account
    cross join app.find_attempts(sign_in_wait.subjects[3]) as network
    where
        own.attempts >= case
            when greatest(account.attempts, network.attempts) < limits.failures_in_all then limits.per_account
            else limits.while_attacked
        end;
end;

comment on function app.sign_in_wait(text[]) is
$$How many seconds an account has to wait before it may be tried again from a network; null: it may be tried.$$;
revoke all on function app.sign_in_wait(text[]) from public;
grant execute on function app.sign_in_wait(text[]) to cardbase_authenticator;
