-- One bounded step of all maintenance, by one process at a time.
--   usage_retention_days      how many days usage events are kept, 1 to 36,500; null: for ever
--   maximum_rows              how many rows each task handles at most, 1 to 100,000
--   job_retention_hours       how many hours jobs are kept after their end, 1 to 876,000
--   event_retention_minutes   how many minutes live events are kept, 1 to 10,080
-- Returns a row for each task: the task, what it did with rows (removed or indexed), and with how many. A task that
-- handled maximum_rows has more to do: call again. No rows at all: another process is running it.
-- Errors: 22023, a parameter is out of range.
-- The lock lasts as long as the transaction, so it also works through a pooler that changes servers between them.
create or replace function app.run_maintenance(
    usage_retention_days integer default null,
    maximum_rows integer default 1000,
    job_retention_hours integer default 168,
    event_retention_minutes integer default 60
)
returns table (task text, action text, row_count bigint)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _maximum constant integer := run_maintenance.maximum_rows;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('cardbase maintenance', 0)) then
        return;
    end if;

    return query
    values
    ('idempotency_store', 'removed', app.purge_idempotency_store(_maximum)),
    ('sign_in', 'removed', app.purge_sign_in(_maximum)),
    ('jobs', 'removed', app.purge_jobs(run_maintenance.job_retention_hours, _maximum)),
    ('events', 'removed', app.purge_events(run_maintenance.event_retention_minutes, _maximum)),
    ('card_search', 'indexed', app.index_all_cards(_maximum));

    if run_maintenance.usage_retention_days is not null then
        return query
        values
        ('card_usage', 'removed', app.purge_card_usage(run_maintenance.usage_retention_days, _maximum));
    end if;
end;
$$;

comment on function app.run_maintenance(integer, integer, integer, integer) is
$$One bounded step of all maintenance, by one process at a time.

Returns a row for each task: what it did with rows, removed or indexed, and with how many. No rows at all: another
process is running it. 22023: a parameter is out of range.$$;
alter function app.run_maintenance(integer, integer, integer, integer) owner to cardbase_maintenance;
revoke all on function app.run_maintenance(integer, integer, integer, integer) from public;
grant execute on function app.run_maintenance(integer, integer, integer, integer) to cardbase_worker;
