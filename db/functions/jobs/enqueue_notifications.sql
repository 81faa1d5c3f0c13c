-- Enqueues a job of the kind notify for each integration that a notification of a user is delivered to.
--   tenant_id, user_id   the user
--   arguments            an array of the jobs' arguments
-- Errors: as for api.enqueue_job; then none of them is enqueued.
-- A worker calls it in the transaction that completes the job notify_user, so each delivery is enqueued once.
create or replace function app.enqueue_notifications(tenant_id uuid, user_id uuid, arguments jsonb)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform api.enqueue_job(
        tenant_id => enqueue_notifications.tenant_id,
        user_id => enqueue_notifications.user_id,
        kind => 'notify',
        arguments => delivery.arguments
    )
    from jsonb_array_elements(enqueue_notifications.arguments) as delivery (arguments);
end;
$$;

comment on function app.enqueue_notifications(uuid, uuid, jsonb) is
$$Enqueues the deliveries of a notification to a user's integrations.

The errors are those of api.enqueue_job.$$;
alter function app.enqueue_notifications(uuid, uuid, jsonb) owner to cardbase_api;
revoke all on function app.enqueue_notifications(uuid, uuid, jsonb) from public;
grant execute on function app.enqueue_notifications(uuid, uuid, jsonb) to cardbase_worker;
