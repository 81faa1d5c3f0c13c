-- Says that a worker has shut down properly: it has given back what it had begun.
--   worker_id   the worker's process
create or replace function app.remove_worker(worker_id uuid)
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    delete from app.workers as worker
    where
        worker.tenant_id = '00000000-0000-0000-0000-000000000000'
        and worker.worker_id = remove_worker.worker_id
$$;

comment on function app.remove_worker(uuid) is
$$Says that a worker has shut down properly.$$;
alter function app.remove_worker(uuid) owner to cardbase_dispatcher;
revoke all on function app.remove_worker(uuid) from public;
grant execute on function app.remove_worker(uuid) to cardbase_worker;
