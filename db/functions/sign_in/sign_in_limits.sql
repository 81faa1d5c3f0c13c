-- How many attempts to sign in, and registrations, are let through within a window of time.
--   per_account          failures for one account from one network
--   while_attacked       the same, while the account from all networks, or the network for all accounts, has
--                        failures_in_all: so a guesser has few attempts from each network, and an owner still has some
--   failures_in_all      failures for one account or from one network, at which while_attacked applies
--   registrations        registrations from one network
--   window_seconds       how long the window is; it begins with the first attempt
-- Here and nowhere else: a caller can't choose them.
create or replace function app.sign_in_limits(
    out per_account integer,
    out while_attacked integer,
    out failures_in_all integer,
    out registrations integer,
    out window_seconds integer
)
language sql
immutable
parallel safe
begin atomic
    select
        10 as per_account,
        3 as while_attacked,
        100 as failures_in_all,
        100 as registrations,
        900 as window_seconds;
end;

comment on function app.sign_in_limits() is
$$How many attempts to sign in, and registrations, are let through within a window of time.$$;
revoke all on function app.sign_in_limits() from public;
grant execute on function app.sign_in_limits() to cardbase_authenticator;
