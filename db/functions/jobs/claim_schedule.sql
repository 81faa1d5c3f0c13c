-- Claims the next run of what workers do periodically, if it is due.
--   name      what is done, such as maintenance
--   seconds   its period: so long after a run began the next one is due
-- Returns whether the caller has to run it now: true for exactly one caller each time. However long no worker was
-- there, one run makes up for it.
create or replace function app.claim_schedule(name text, seconds double precision)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _now constant timestamptz := clock_timestamp();
begin
    insert into app.schedules as schedule (name, last_run_at)
    values (claim_schedule.name, _now)
    on conflict on constraint schedules_pkey do update
        set last_run_at = excluded.last_run_at
        where schedule.last_run_at <= excluded.last_run_at - make_interval(secs => claim_schedule.seconds);

    return found;
end;
$$;

comment on function app.claim_schedule(text, double precision) is
$$Claims the next run of what workers do periodically; returns whether the caller has to run it now.$$;
alter function app.claim_schedule(text, double precision) owner to cardbase_dispatcher;
revoke all on function app.claim_schedule(text, double precision) from public;
grant execute on function app.claim_schedule(text, double precision) to cardbase_worker;
