-- Says that a worker is alive, how long it counts as alive, and what it can do.
--   worker_id   the worker's process
--   host        where it runs
--   seconds     how long, unless this is called again
--   slots       how many jobs it runs at the same time
--   queues      the queues that it takes jobs from: high, default, low
-- All times are the server's. Workers that were last alive a day ago are removed.
create or replace function app.keep_worker(
    worker_id uuid,
    host text,
    seconds double precision,
    slots integer,
    queues text[]
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _now constant timestamptz := clock_timestamp();
begin
    insert into app.workers as worker (worker_id, host, last_seen_at, alive_since, expires_at, slots, queues)
    values (
        keep_worker.worker_id,
        keep_worker.host,
        _now,
        _now,
        _now + make_interval(secs => keep_worker.seconds),
        keep_worker.slots,
        keep_worker.queues
    )
    on conflict on constraint workers_pkey do update
        set
            last_seen_at = excluded.last_seen_at,
            alive_since = case
                when worker.expires_at > excluded.last_seen_at then worker.alive_since
                else excluded.alive_since
            end,
            expires_at = excluded.expires_at,
            slots = excluded.slots,
            queues = excluded.queues;

    delete from app.workers as worker
    where worker.expires_at < _now - interval '1 day';
end;
$$;

comment on function app.keep_worker(uuid, text, double precision, integer, text[]) is
$$Says that a worker is alive, how long it counts as alive, and what it can do.$$;
alter function app.keep_worker(uuid, text, double precision, integer, text[]) owner to cardbase_dispatcher;
revoke all on function app.keep_worker(uuid, text, double precision, integer, text[]) from public;
grant execute on function app.keep_worker(uuid, text, double precision, integer, text[]) to cardbase_worker;
