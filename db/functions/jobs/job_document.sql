-- A job as callers see it. Its arguments may be private to whoever enqueued it, and are not shown.
create or replace function app.job_document(job app.jobs)
returns jsonb
language sql
stable
parallel safe
return jsonb_build_object(
    'id', (job_document.job).id,
    'kind', (job_document.job).kind,
    'queue', (job_document.job).queue,
    'status', (job_document.job).status,
    'result', (job_document.job).result,
    'error', (job_document.job).error,
    'attempts', (job_document.job).attempts,
    'maximum_attempts', (job_document.job).maximum_attempts,
    'created_at', (job_document.job).created_at,
    'started_at', (job_document.job).started_at,
    'completed_at', (job_document.job).completed_at
);

comment on function app.job_document(app.jobs) is
$$A job as callers see it: its row as one JSON object.$$;
revoke all on function app.job_document(app.jobs) from public;
grant execute on function app.job_document(app.jobs) to cardbase_api;
