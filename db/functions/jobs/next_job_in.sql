-- When the next job is due that is put off: until then a worker that finds nothing may sleep.
-- Returns the seconds until then, 0 if it is due already; null: none is put off. Seconds, as the worker's clock may
-- differ from the server's.
create or replace function app.next_job_in()
returns double precision
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select greatest(extract(epoch from pending.run_at - statement_timestamp()), 0)::double precision
    from app.pending_jobs as pending
    where not pending.is_ready
    order by pending.run_at
    limit 1
$$;

comment on function app.next_job_in() is
$$How many seconds from now the next job is due that is put off; null: there is none.$$;
alter function app.next_job_in() owner to cardbase_dispatcher;
revoke all on function app.next_job_in() from public;
grant execute on function app.next_job_in() to cardbase_worker;
