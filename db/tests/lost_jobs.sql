-- Jobs of which a worker knows nothing though the ledger says that it runs them: a reply was lost.
begin;
\ir helpers/tests.psql
select plan(6);

insert into app.jobs (tenant_id, id, kind, queue, arguments, maximum_attempts, status, attempts, worker_id)
select
    tests.tenant('acme'),
    tests.id(job.number) as id,
    'test',
    job.queue,
    '{}',
    3,
    'running',
    job.attempts,
    job.worker_id::uuid
from (
    values
    (1, 'default', 1, '11111111-0000-0000-0000-000000000000'),
    (2, 'high', 1, '11111111-0000-0000-0000-000000000000'),
    (3, 'default', 3, '11111111-0000-0000-0000-000000000000'),
    (4, 'default', 2, '11111111-0000-0000-0000-000000000000'),
    (5, 'default', 1, '22222222-0000-0000-0000-000000000000')
) as job (number, queue, attempts, worker_id);

set local role cardbase_worker;
select results_eq(
    $$
    select ended.*
    from
        app.find_ended_jobs(
            '11111111-0000-0000-0000-000000000000',
            jsonb_build_array(
                jsonb_build_object('tenant_id', tests.tenant('acme'), 'id', tests.id(1), 'attempt', 1),
                jsonb_build_object('tenant_id', tests.tenant('acme'), 'id', tests.id(4), 'attempt', 1)
            )
        ) as ended
    $$,
    $$ values (tests.tenant('acme'), tests.id(4), 1) $$,
    'an attempt that another one of the same worker superseded need not go on'
);
reset role;
select results_eq(
    'select status, attempts, error from app.jobs order by id',
    $$
    values
    ('running', 1, null),
    ('pending', 1, null),
    ('failed', 3, 'Its worker was lost during the last attempt.'),
    ('pending', 2, null),
    ('running', 1, null)
    $$,
    'what a worker does not know it runs is pending again or has failed; what it or another one runs is left alone'
);
select results_eq(
    'select id, priority, is_ready from app.pending_jobs order by id',
    $$ values (tests.id(2), 1::smallint, true), (tests.id(4), 0::smallint, true) $$,
    'it can be taken at once, in its queue'
);

set local role cardbase_worker;
select is_empty(
    $$ select from app.find_ended_jobs('22222222-0000-0000-0000-000000000000', '[]') $$,
    'a worker that has lost all its jobs has none to stop'
);
reset role;
select is(
    (
        select status
        from app.jobs
        where id = tests.id(5)
    ),
    'pending',
    'and all of them are pending'
);
select results_eq(
    $$
    select
        app.lost_outcome(job) ->> 'status',
        app.lost_outcome(job) ->> 'error'
    from app.jobs as job
    where job.id = tests.id(3)
    $$,
    $$ values ('failed', 'Its worker was lost during the last attempt.') $$,
    'the attempt counts: after the last one the job has failed'
);

select * from finish();
rollback;
