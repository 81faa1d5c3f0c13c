-- Says that a worker is alive, and how long it counts as alive.
--   worker_id   the worker's process
--   host        where it runs
--   seconds     how long, unless this is called again
-- Workers that were last alive a day ago are removed.
create or replace function app.keep_worker(worker_id uuid, host text, seconds double precision)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _now constant timestamptz := clock_timestamp();
begin
    insert into app.workers as worker (worker_id, host, expires_at)
    values (keep_worker.worker_id, keep_worker.host, _now + make_interval(secs => keep_worker.seconds))
    on conflict on constraint workers_pkey do update
        set
            last_seen_at = _now,
            expires_at = excluded.expires_at;

    delete from app.workers as worker
    where worker.expires_at < _now - interval '1 day';
end;
$$;

comment on function app.keep_worker(uuid, text, double precision) is
$$Says that a worker is alive, and how long it counts as alive.$$;
alter function app.keep_worker(uuid, text, double precision) owner to cardbase_dispatcher;
revoke all on function app.keep_worker(uuid, text, double precision) from public;
grant execute on function app.keep_worker(uuid, text, double precision) to cardbase_worker;
