-- The outcome of a running job's last attempt, of which nothing more will be heard, as app.finish_jobs takes it: the
-- attempt counts, and after the last one the job has failed.
create or replace function app.lost_outcome(job app.jobs)
returns jsonb
language sql
immutable
parallel safe
return jsonb_build_object(
    'tenant_id', (lost_outcome.job).tenant_id,
    'id', (lost_outcome.job).id,
    'attempt', (lost_outcome.job).attempts
) || case
    when (lost_outcome.job).attempts < (lost_outcome.job).maximum_attempts
        then jsonb_build_object('status', 'retried', 'error', (lost_outcome.job).error)
    else '{"status": "failed", "error": "Its worker was lost during the last attempt."}'
end;

comment on function app.lost_outcome(app.jobs) is
$$The outcome of a running job's last attempt, of which nothing more will be heard, as app.finish_jobs takes it.$$;
revoke all on function app.lost_outcome(app.jobs) from public;
grant execute on function app.lost_outcome(app.jobs) to cardbase_dispatcher;
