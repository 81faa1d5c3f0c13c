-- Background jobs. This is what is known of each; the queue that workers take them from is PgQueuer's, in schema queue.
create table app.jobs (
    tenant_id uuid not null,
    id uuid not null default app.uuid_v7(),
    user_id uuid,
    kind text not null,
    queue text not null,
    arguments jsonb not null,
    status text not null default 'pending',
    result jsonb,
    error text,
    attempts integer not null default 0,
    maximum_attempts integer not null,
    queue_id bigint,
    worker_id uuid,
    created_at timestamptz not null default now(),
    started_at timestamptz,
    completed_at timestamptz,
    constraint jobs_pkey primary key (tenant_id, id),
    constraint jobs_status_check check (status in ('pending', 'running', 'completed', 'failed')),
    constraint jobs_error_check check (length(error) <= 1000)
);
comment on table app.jobs is 'What is done in the background: what was asked for, and what became of it.';
comment on column app.jobs.user_id is 'Whose job it is; null: the tenant''s own, which all its users see.';
comment on column app.jobs.arguments is 'What its kind is called with. No function answers them but to a worker.';
comment on column app.jobs.error is 'Why the last attempt failed, in words for the job''s owner.';
comment on column app.jobs.attempts is 'Attempts begun, but for those that a worker gave back.';
comment on column app.jobs.queue_id is 'Its row in PgQueuer''s table, while it is not done.';
comment on column app.jobs.worker_id is 'The worker that has begun its last attempt.';
comment on column app.jobs.started_at is 'When its last attempt began.';
comment on column app.jobs.completed_at is 'When it was completed, or failed for good.';

-- The list of a user's jobs and of a tenant's own, newest last, by status: the one index serves them all.
create index jobs_listed on app.jobs (tenant_id, user_id, status, id);
create index jobs_completed_at on app.jobs (completed_at) where completed_at is not null;

-- Workers are no tenant's: they are kept under the UUID of zeros.
create table app.workers (
    tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
    worker_id uuid not null,
    host text not null,
    started_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    expires_at timestamptz not null,
    constraint workers_pkey primary key (tenant_id, worker_id),
    constraint workers_tenant_id_check check (tenant_id = '00000000-0000-0000-0000-000000000000')
);
comment on table app.workers is 'The worker processes at work, and for a day those that died. One that ends well goes.';
comment on column app.workers.expires_at is 'Until when it counts as alive, unless it is seen again.';

-- It takes another parameter now.
drop function if exists app.run_maintenance(integer, integer);
