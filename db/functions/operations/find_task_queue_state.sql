-- Whether jobs are carried out. It looks at the jobs of all tenants, but only at whether any is pending.
-- Returns connected: a worker is alive; disconnected: none is, though one died or a job has been pending for a minute;
-- disabled: there is no worker, and nothing for one to do.
create or replace function app.find_task_queue_state()
returns text
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select
        case
            when bool_or(worker.expires_at > clock_timestamp()) then 'connected'
            when
                count(*) > 0
                or exists (
                    select
                    from app.pending_jobs as pending
                    where pending.run_at < clock_timestamp() - interval '1 minute'
                )
                then 'disconnected'
            else 'disabled'
        end
    from app.workers as worker
$$;

comment on function app.find_task_queue_state() is
$$Whether jobs are carried out: connected, disconnected or disabled.$$;
alter function app.find_task_queue_state() owner to cardbase_dispatcher;
revoke all on function app.find_task_queue_state() from public;
grant execute on function app.find_task_queue_state() to cardbase_api;
