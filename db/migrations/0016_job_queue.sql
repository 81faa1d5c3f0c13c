-- Jobs are handed out by functions on tables of this schema; before, PgQueuer did it on its own, in schema queue.

-- What is pending, a row for each job: inserted when a job becomes pending, deleted when a worker takes it. It is small
-- however long app.jobs grows. No foreign key: only the functions that change a job's status write it.
create table app.pending_jobs (
    tenant_id uuid not null,
    id uuid not null,
    priority smallint not null,
    kind text not null,
    run_at timestamptz not null,
    is_ready boolean not null,
    constraint pending_jobs_pkey primary key (tenant_id, id)
)
-- Rows come and go all the time: vacuum often and at full speed, or scans would wade through dead entries.
with (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 10000
);
comment on table app.pending_jobs is 'The jobs that are pending: what workers take them from.';
comment on column app.pending_jobs.priority is 'The priority of its queue (app.job_queues).';
comment on column app.pending_jobs.run_at is 'When it became ready, or will.';
comment on column app.pending_jobs.is_ready is 'Whether it may be taken; false: it is put off until run_at.';

-- Finds the next tenant that has ready jobs, and a tenant's next job.
create index pending_jobs_ready on app.pending_jobs (priority, tenant_id, id) where is_ready;
create index pending_jobs_put_off on app.pending_jobs (run_at) where not is_ready;

-- How many jobs a tenant is running, and what workers were running when they died.
create index jobs_running on app.jobs (tenant_id, worker_id) where status = 'running';

-- Of no tenant, like workers. A table, as advisory locks can be held by whoever logs in.
create table app.dispatch_turn (
    tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
    constraint dispatch_turn_pkey primary key (tenant_id),
    constraint dispatch_turn_tenant_id_check check (tenant_id = '00000000-0000-0000-0000-000000000000')
);
comment on table app.dispatch_turn is
'One row. Whoever takes jobs locks it, so that workers take them one after the other (app.take_jobs).';
insert into app.dispatch_turn default values;

create table app.schedules (
    tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
    name text not null,
    last_run_at timestamptz not null,
    constraint schedules_pkey primary key (tenant_id, name),
    constraint schedules_tenant_id_check check (tenant_id = '00000000-0000-0000-0000-000000000000')
);
comment on table app.schedules is 'What workers do periodically, and when one of them last began it.';

alter table app.workers
add column slots integer not null default 0,
add column queues text[] not null default array['high', 'default', 'low'],
add column alive_since timestamptz not null default now();
comment on column app.workers.slots is 'How many jobs it runs at the same time.';
comment on column app.workers.queues is 'The queues that it takes jobs from.';
comment on column app.workers.alive_since is 'Since when it has reported in time, without a gap.';

-- As its owner reads the whole table here; the policies' file shuts it again. Nobody writes meanwhile.
alter table app.jobs no force row level security;

do $do$
begin
    -- A schema of this name that somebody else made is none of ours.
    if not exists (
        select
        from pg_namespace
        where pg_namespace.nspname = 'queue' and pg_namespace.nspowner = 'cardbase_owner'::regrole
    ) then
        return;
    end if;

    if to_regclass('queue.pgqueuer') is not null then
        insert into app.pending_jobs (tenant_id, id, priority, kind, run_at, is_ready)
        select
            job.tenant_id,
            job.id,
            case job.queue when 'high' then 1 when 'low' then -1 else 0 end,
            job.kind,
            coalesce(queued.execute_after, job.created_at),
            coalesce(queued.execute_after <= now(), true)
        from app.jobs as job
        left join queue.pgqueuer as queued on queued.id = job.queue_id
        where job.status = 'pending'
        order by job.tenant_id, job.id;
    end if;

    drop schema queue cascade;
end;
$do$;

alter table app.jobs drop column queue_id;
comment on column app.jobs.queue is 'high, default or low: orders a tenant''s jobs, and says which workers take it.';

-- They take other parameters now, or have no use any more.
drop function if exists app.begin_jobs(uuid, bigint[]);
drop function if exists app.keep_worker(uuid, text, double precision);
drop function if exists app.discard_row();

-- Whoever logs in may listen to a channel. What is announced there names tenants and users by hashes with this key.
create table app.announcement_secret (
    tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
    secret bytea not null,
    constraint announcement_secret_pkey primary key (tenant_id),
    constraint announcement_secret_tenant_id_check check (tenant_id = '00000000-0000-0000-0000-000000000000')
);
comment on table app.announcement_secret is 'One row: the key of the names in announcements (app.announcement_key).';
insert into app.announcement_secret (secret)
values (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
