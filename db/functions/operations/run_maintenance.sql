-- One bounded step of everything that has to be done now and then, by one process at a time.
--   usage_retention_days      usage events are kept for so many days, 1 to 36,500; null: for ever
--   maximum_rows              how many rows each task removes at most, 1 to 100,000
--   job_retention_hours       jobs are kept for so many hours after their end, 1 to 876,000
--   event_retention_minutes   live events are kept for so many minutes, 1 to 10,080
-- Answers a row for each task: what it cares for, and how many rows it removed, or entries it worked off. A task that
-- did maximum_rows has more to do: call again. No rows at all: another process is at it.
-- Errors: 22023, a parameter is out of range.
-- The lock lasts as long as the transaction, so that it also works behind a pooler that changes servers between them.
create or replace function app.run_maintenance(
    usage_retention_days integer default null,
    maximum_rows integer default 1000,
    job_retention_hours integer default 168,
    event_retention_minutes integer default 60
)
returns table (task text, purged bigint)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not pg_try_advisory_xact_lock(hashtextextended('cardbase maintenance', 0)) then
        return;
    end if;

    return query
    select
        'idempotency_store',
        app.purge_idempotency_store(run_maintenance.maximum_rows);

    return query
    select
        'sign_in',
        app.purge_sign_in(run_maintenance.maximum_rows);

    return query
    select
        'jobs',
        app.purge_jobs(run_maintenance.job_retention_hours, run_maintenance.maximum_rows);

    return query
    select
        'events',
        app.purge_events(run_maintenance.event_retention_minutes, run_maintenance.maximum_rows);

    return query
    select
        'card_search',
        app.index_all_cards(run_maintenance.maximum_rows);

    if run_maintenance.usage_retention_days is not null then
        return query
        select
            'card_usage',
            app.purge_card_usage(run_maintenance.usage_retention_days, run_maintenance.maximum_rows);
    end if;
end;
$$;

comment on function app.run_maintenance(integer, integer, integer, integer) is
$$One bounded step of everything that has to be done now and then, by one process at a time.

Answers a row for each task, with the number of rows it removed. No rows at all: another process is at it. 22023: a
parameter is out of range.$$;
alter function app.run_maintenance(integer, integer, integer, integer) owner to cardbase_maintenance;
revoke all on function app.run_maintenance(integer, integer, integer, integer) from public;
grant execute on function app.run_maintenance(integer, integer, integer, integer) to cardbase_worker;
