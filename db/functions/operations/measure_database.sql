-- How the database is doing, for an operator's metrics.
--   usage_retention_days   how many days usage events are kept; null: for ever
-- Returns a row for each figure: the metric's name, its labels, its value. A name that ends in _total only grows.
-- Cheap: figures about tables come from the server's statistics. Of the tables themselves only the oldest row is read,
-- by an index, and app.pending_jobs, which holds only what is pending.
create or replace function app.measure_database(usage_retention_days integer default null)
returns table (metric text, labels jsonb, value double precision)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select
        figure.metric,
        figure.labels,
        figure.value::double precision
    from pg_stat_database as statistics
    inner join pg_database on pg_database.oid = statistics.datid
    cross join lateral (
        values
        ('cards_database_size_bytes', '{}'::jsonb, pg_database_size(statistics.datid)::numeric),
        ('cards_database_connections', '{}', statistics.numbackends),
        ('cards_database_transaction_age', '{}', age(pg_database.datfrozenxid)),
        ('cards_database_transactions_total', '{"outcome": "commit"}', statistics.xact_commit),
        ('cards_database_transactions_total', '{"outcome": "rollback"}', statistics.xact_rollback),
        ('cards_database_blocks_total', '{"source": "memory"}', statistics.blks_hit),
        ('cards_database_blocks_total', '{"source": "disk"}', statistics.blks_read),
        ('cards_database_temporary_bytes_total', '{}', statistics.temp_bytes),
        ('cards_database_deadlocks_total', '{}', statistics.deadlocks)
    ) as figure (metric, labels, value)
    where statistics.datname = current_database()

    union all
    select
        'cards_database_connections_max',
        '{}',
        current_setting('max_connections')::double precision

    union all
    select
        figure.metric,
        jsonb_build_object('table', statistics.relname),
        figure.value::double precision
    from pg_stat_user_tables as statistics
    cross join lateral (
        values
        ('cards_table_rows', statistics.n_live_tup),
        ('cards_table_dead_rows', statistics.n_dead_tup),
        ('cards_table_size_bytes', pg_total_relation_size(statistics.relid))
    ) as figure (metric, value)
    where statistics.schemaname = 'app'

    union all
    select
        figure.metric,
        jsonb_build_object('queue', known.queue),
        figure.value::double precision
    from jsonb_each_text(app.job_queues()) as known (queue, priority)
    left join (
        select
            pending.priority,
            count(*) filter (where pending.run_at <= now()) as ready,
            count(*) filter (where pending.run_at > now()) as put_off,
            -- Before the first is due this is negative.
            extract(epoch from now() - min(pending.run_at)) as seconds
        from app.pending_jobs as pending
        group by pending.priority
    ) as found on found.priority = known.priority::smallint
    cross join lateral (
        values
        ('cards_jobs_pending', coalesce(found.ready, 0)),
        ('cards_jobs_put_off', coalesce(found.put_off, 0)),
        ('cards_jobs_oldest_pending_seconds', greatest(found.seconds, 0))
    ) as figure (metric, value)

    union all
    select
        'cards_jobs_busiest_tenant_ratio',
        '{}',
        app.most_pending_jobs() / app.setting('tenant_pending_jobs', '10000')::double precision

    union all
    select
        'cards_maintenance_lag_seconds',
        '{"task": "idempotency_store"}',
        coalesce(extract(epoch from now() - min(stored.expires_at)), 0)
    from app.idempotency_store as stored

    union all
    select
        'cards_maintenance_lag_seconds',
        '{"task": "card_usage"}',
        coalesce(
            greatest(
                extract(epoch from now() - make_interval(days => measure_database.usage_retention_days) - min(event.used_at)),
                0
            ),
            0
        )
    from app.card_usage as event
$$;

comment on function app.measure_database(integer) is
$$How the database is doing, for an operator's metrics.

Returns metric, labels and value; a metric whose name ends in _total only grows. cards_maintenance_lag_seconds says how
long the oldest row has been due for removal.$$;
alter function app.measure_database(integer) owner to cardbase_maintenance;
revoke all on function app.measure_database(integer) from public;
grant execute on function app.measure_database(integer) to cardbase_worker;
