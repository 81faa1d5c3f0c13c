-- Makes jobs ready that were put off until now, the longest due first, at most 1,000 per call.
-- Rows that somebody else has locked are skipped: they are being promoted, or cancelled.
create or replace function app.promote_jobs()
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
    with due as materialized (
        select
            pending.tenant_id,
            pending.id
        from app.pending_jobs as pending
        where
            not pending.is_ready
            and pending.run_at <= statement_timestamp()
        order by pending.run_at
        limit 1000
        for update skip locked
    )

    update app.pending_jobs as pending
    set is_ready = true
    from due
    where
        pending.tenant_id = due.tenant_id
        and pending.id = due.id
$$;

comment on function app.promote_jobs() is
$$Makes jobs ready that were put off until now.$$;
revoke all on function app.promote_jobs() from public;
grant execute on function app.promote_jobs() to cardbase_dispatcher;
