-- Says that a worker has shut down properly. Jobs that it is still running are given back: their attempt doesn't count.
--   worker_id   the worker's process
create or replace function app.remove_worker(worker_id uuid)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.finish_jobs(
        remove_worker.worker_id,
        (
            select
                jsonb_agg(
                    jsonb_build_object(
                        'tenant_id', job.tenant_id,
                        'id', job.id,
                        'attempt', job.attempts,
                        'status', 'returned'
                    )
                )
            from app.jobs as job
            where
                job.status = 'running'
                and job.worker_id = remove_worker.worker_id
        )
    );

    delete from app.workers as worker
    where
        worker.tenant_id = '00000000-0000-0000-0000-000000000000'
        and worker.worker_id = remove_worker.worker_id;
end;
$$;

comment on function app.remove_worker(uuid) is
$$Says that a worker has shut down properly, and gives back what it is still running.$$;
alter function app.remove_worker(uuid) owner to cardbase_dispatcher;
revoke all on function app.remove_worker(uuid) from public;
grant execute on function app.remove_worker(uuid) to cardbase_worker;
