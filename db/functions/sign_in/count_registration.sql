-- Counts a registration from a network.
-- Returns null, or the seconds to wait where there were too many.
create or replace function app.count_registration(network text)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _subject constant text := jsonb_build_array('registration', count_registration.network)::text;
begin
    perform app.count_attempts(array[_subject], 1);

    return (
        select counted.seconds
        from app.find_attempts(_subject) as counted
        inner join app.sign_in_limits() as limits on counted.attempts > limits.registrations
    );
end;
$$;

comment on function app.count_registration(text) is
$$Counts a registration from a network; returns the seconds to wait where there were too many, else null.$$;
alter function app.count_registration(text) owner to cardbase_authenticator;
revoke all on function app.count_registration(text) from public;
grant execute on function app.count_registration(text) to cardbase_api;
