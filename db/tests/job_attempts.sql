begin;
\ir helpers/tests.psql
select plan(23);

-- Two workers, and one that died; jobs of two tenants, told apart by their numbers.
create function tests.worker(name text)
returns uuid
language sql
immutable
return case worker.name
    when 'one' then '11111111-0000-0000-0000-000000000000'::uuid
    when 'two' then '22222222-0000-0000-0000-000000000000'::uuid
    when 'dead' then 'dddddddd-0000-0000-0000-000000000000'::uuid
end;
create function tests.job(number integer)
returns uuid
language sql
immutable
return ('aaaaaaaa-0000-0000-0000-00000000000' || job.number)::uuid;
-- The jobs that a worker is given of those it has picked, with the number of the attempt.
create function tests.begun(worker_name text, numbers integer[])
returns text
language sql
return (
    select coalesce(string_agg(format('%s:%s', right(begun.id::text, 1), begun.attempt), ' ' order by begun.id), '')
    from app.begin_jobs(
        tests.worker(begun.worker_name), array(select 1000000 + number from unnest(begun.numbers) as number)
    ) as begun
);
-- The jobs for which outcomes were recorded.
create function tests.finished(worker_name text, outcomes jsonb)
returns text
language sql
return (
    select coalesce(string_agg(right(finished.id::text, 1), ' ' order by finished.id), '')
    from app.finish_jobs(tests.worker(finished.worker_name), finished.outcomes) as finished
);
create function tests.outcome(number integer, attempt integer, status text, more jsonb default '{}')
returns jsonb
language sql
return jsonb_build_object(
    'tenant_id', tests.tenant(case when outcome.number = 2 then 'globex' else 'acme' end),
    'id', tests.job(outcome.number),
    'attempt', outcome.attempt,
    'status', outcome.status,
    'seconds', 0
) || outcome.more;
grant execute on all functions in schema tests to public;

insert into app.jobs (tenant_id, id, kind, queue, arguments, maximum_attempts, status, attempts, worker_id, queue_id)
select
    tests.tenant(job.home),
    tests.job(job.number) as id,
    'test',
    'default',
    jsonb_build_object('message', job.number),
    5,
    job.status,
    case when job.status = 'pending' then 0 else 1 end as attempts,
    tests.worker(job.worker),
    1000000 + job.number as queue_id
from (
    values
    ('acme', 1, 'pending', null),
    ('globex', 2, 'pending', null),
    ('acme', 3, 'running', 'two'),
    ('acme', 4, 'running', 'dead'),
    ('acme', 5, 'completed', 'two'),
    ('acme', 6, 'failed', null)
) as job (home, number, status, worker);
insert into queue.pgqueuer (id, entrypoint, priority, status, payload, queue_manager_id)
select
    job.queue_id,
    'test',
    0,
    'picked',
    uuid_send(job.tenant_id) || uuid_send(job.id),
    tests.worker('one')
from app.jobs as job;
-- A row whose job is gone.
insert into queue.pgqueuer (id, entrypoint, priority, status, payload)
values (1000007, 'test', 0, 'picked', uuid_send(tests.tenant('acme')) || uuid_send(tests.job(7)));
insert into app.workers (worker_id, host, expires_at)
values
(tests.worker('one'), 'here', now() + interval '1 hour'),
(tests.worker('two'), 'there', now() + interval '1 hour'),
(tests.worker('dead'), 'there', now() - interval '1 second');

set local role cardbase_worker;
select is(
    tests.begun('one', array[1, 2, 3, 4, 5, 6, 7]),
    '1:1 2:1 4:2',
    'a worker begins what waits and what a dead one had begun, and nothing that has ended or that a live one is at'
);
select results_eq(
    $$ select id::integer - 1000000 from queue.pgqueuer order by id $$,
    'values (1), (2), (3), (4)',
    'what has ended or is gone is taken from the queue'
);
select results_eq(
    $$
    select
        queue_id::integer - 1000000,
        tenant_id,
        user_id,
        kind,
        arguments,
        attempt,
        maximum_attempts
    from app.begin_jobs(tests.worker('one'), array[1000001])
    $$,
    $$ values (1, tests.tenant('acme'), null::uuid, 'test', '{"message": 1}'::jsonb, 2, 5) $$,
    'its own attempt, of which it has heard no answer, it may begin anew'
);
select is(tests.begun('two', array[1, 4]), '', 'nobody else may meanwhile');
reset role;
select results_eq(
    $$
    select
        status,
        worker_id,
        started_at is not null,
        completed_at
    from app.jobs
    where id = tests.job(4)
    $$,
    $$ values ('running', tests.worker('one'), true, null::timestamptz) $$,
    'a job that was begun is running'
);

-- The end of attempts
set local role cardbase_worker;
select is(
    tests.finished('one', jsonb_build_array(tests.outcome(1, 1, 'completed'))),
    '',
    'an attempt that another one followed counts no more'
);
select is(
    tests.finished('two', jsonb_build_array(tests.outcome(1, 2, 'completed'))),
    '',
    'an attempt counts by the worker that made it'
);
select is(
    tests.finished(
        'one',
        jsonb_build_array(
            tests.outcome(4, 2, 'failed', '{"error": "It failed."}'),
            tests.outcome(2, 1, 'retried', '{"error": "Not yet.", "seconds": 60}'),
            tests.outcome(1, 2, 'completed', '{"result": {"message": "done"}}'),
            tests.outcome(5, 1, 'failed')
        )
    ),
    '1 2 4',
    'outcomes are recorded for many tenants at once, and not of what has ended'
);
reset role;
select results_eq(
    $$
    select
        status,
        result,
        error,
        attempts,
        completed_at is not null
    from app.jobs
    where id in (tests.job(1), tests.job(2), tests.job(4))
    order by id
    $$,
    $$
    values
    ('completed', '{"message": "done"}'::jsonb, null, 2, true),
    ('pending', null, 'Not yet.', 1, false),
    ('failed', null, 'It failed.', 2, true)
    $$,
    'each job is what became of it'
);
select results_eq(
    $$
    select
        id::integer - 1000000,
        status::text,
        queue_manager_id,
        execute_after = now() + interval '1 minute'
    from queue.pgqueuer
    where id <> 1000003
    $$,
    $$ values (2, 'queued', null::uuid, true) $$,
    'only what is tried again is queued again, and for when it said'
);
set local role cardbase_worker;
select is(
    tests.finished('one', jsonb_build_array(tests.outcome(1, 2, 'completed'))),
    '',
    'what has ended does not end again'
);
select is(tests.begun('one', array[1, 2]), '2:2', 'nor is it begun again; what is tried again is');
select is(tests.finished('one', jsonb_build_array(tests.outcome(2, 2, 'returned'))), '2', 'it is given back');
reset role;
select results_eq(
    $$
    select
        job.status,
        job.error,
        job.attempts,
        queued.status::text,
        queued.execute_after <= now()
    from app.jobs as job
    inner join queue.pgqueuer as queued on queued.id = job.queue_id
    where job.id = tests.job(2)
    $$,
    $$ values ('pending', 'Not yet.', 1, 'queued', true) $$,
    'then that attempt was none, and the next one is due'
);
set local role cardbase_worker;
select is(
    tests.finished('one', jsonb_build_array(tests.outcome(3, 1, 'completed'))),
    '',
    'a worker records nothing of another worker''s job'
);

-- Workers
select lives_ok(
    $$ select app.keep_worker(tests.worker('dead'), 'there', 60) $$, 'a worker says that it is alive after all'
);
select lives_ok($$ select app.keep_worker('eeeeeeee-0000-0000-0000-000000000000', 'there', 60) $$, 'a new one says so');
select lives_ok($$ select app.remove_worker(tests.worker('one')) $$, 'one ends');
reset role;
select results_eq(
    $$
    select
        left(worker_id::text, 1),
        expires_at > now()
    from app.workers
    order by worker_id
    $$,
    $$ values ('2', true), ('d', true), ('e', true) $$,
    'who ended is forgotten, the others are alive'
);
update app.workers
set expires_at = now() - interval '25 hours'
where worker_id = tests.worker('dead');
set local role cardbase_worker;
select app.keep_worker(tests.worker('two'), 'there', 60) as kept;
reset role;
select is_empty(
    $$ select from app.workers where worker_id = tests.worker('dead') $$, 'who died yesterday is forgotten'
);

-- Who may
select is_empty(
    $$
    select
        role.name,
        function.name
    from unnest(array['cardbase_gateway', 'cardbase_service']) as role (name)
    cross join unnest(array['begin_jobs', 'finish_jobs', 'keep_worker', 'remove_worker', 'purge_jobs']) as function (name)
    inner join pg_proc on pg_proc.proname = function.name and pg_proc.pronamespace = 'app'::regnamespace
    where has_function_privilege(role.name, pg_proc.oid, 'execute')
    $$,
    'only workers begin, finish and purge'
);
select set_eq(
    $$
    select
        pg_class.relname::text,
        acl.grantee::regrole::text,
        lower(acl.privilege_type)
    from pg_class
    cross join aclexplode(pg_class.relacl) as acl
    where pg_class.relnamespace = 'queue'::regnamespace and acl.grantee <> pg_class.relowner
    $$,
    $$
    values
    ('pgqueuer', 'cardbase_api', 'insert'),
    ('pgqueuer', 'cardbase_api', 'delete'),
    ('pgqueuer', 'cardbase_dispatcher', 'select'),
    ('pgqueuer', 'cardbase_dispatcher', 'update'),
    ('pgqueuer', 'cardbase_dispatcher', 'delete'),
    ('pgqueuer', 'cardbase_worker', 'select'),
    ('pgqueuer', 'cardbase_worker', 'update'),
    ('pgqueuer_id_seq', 'cardbase_api', 'usage'),
    ('pgqueuer_log', 'cardbase_worker', 'select'),
    ('pgqueuer_log', 'cardbase_worker', 'insert'),
    ('pgqueuer_schedules', 'cardbase_worker', 'select'),
    ('pgqueuer_schedules', 'cardbase_worker', 'insert'),
    ('pgqueuer_schedules', 'cardbase_worker', 'update'),
    ('pgqueuer_schedules_id_seq', 'cardbase_worker', 'usage'),
    ('pgqueuer_statistics', 'cardbase_worker', 'select')
    $$,
    'who may do what with PgQueuer''s tables is on this list'
);
select set_eq(
    $$
    select
        acl.grantee::regrole::text,
        lower(acl.privilege_type),
        attribute.attname::text
    from pg_attribute as attribute
    cross join aclexplode(attribute.attacl) as acl
    where attribute.attrelid = 'queue.pgqueuer'::regclass
    $$,
    $$
    values
    ('cardbase_api', 'select', 'id'),
    ('cardbase_maintenance', 'select', 'execute_after'),
    ('cardbase_maintenance', 'select', 'priority'),
    ('cardbase_maintenance', 'select', 'status')
    $$,
    'and with single columns'
);

select * from finish();
rollback;
