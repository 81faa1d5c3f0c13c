begin;
\ir helpers/tests.psql
\ir helpers/jobs.psql
select plan(15);

select is(tests.callers('finish_jobs'), 'cardbase_worker', 'only workers finish jobs');

select
    tests.add_job('acme', 1, 'one', attempts => 2) as one,
    tests.add_job('globex', 2, 'one', attempts => 1, queue => 'high') as two,
    tests.add_job('acme', 3, 'two', attempts => 1) as three,
    tests.add_job('acme', 4, 'one', attempts => 2, queue => 'low') as four,
    tests.add_job('acme', 5, 'one', attempts => 1) as five,
    tests.add_job('acme', 6) as six;

set local role cardbase_worker;
select is(
    tests.finished('one', tests.attempt('acme', 1, 1, '{"status": "completed"}')),
    '',
    'an attempt that another one followed no longer counts'
);
select is(
    tests.finished('one', tests.attempt('acme', 3, 1, '{"status": "completed"}')),
    '',
    'an attempt counts by the worker that made it'
);
select is(
    tests.finished('one', tests.attempt('globex', 1, 2, '{"status": "completed"}')),
    '',
    'a job of that id of another tenant is another job'
);
select is(
    tests.finished('one', tests.attempt('acme', 6, 0, '{"status": "completed"}')), '', 'what is pending does not end'
);
select is(
    tests.finished(
        'one',
        tests.attempt('acme', 4, 2, '{"status": "failed", "error": "It failed."}'),
        tests.attempt('globex', 2, 1, '{"status": "retried", "error": "Not yet.", "seconds": 60}'),
        tests.attempt('acme', 1, 2, '{"status": "completed", "result": {"message": "done"}}'),
        tests.attempt('acme', 5, 1, '{"status": "retried", "error": "Now.", "seconds": 0}'),
        tests.attempt('acme', 3, 1, '{"status": "failed"}')
    ),
    '1 2 4 5',
    'outcomes are recorded for many tenants at once, but for those of another worker'
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
    where id <> tests.job(6)
    order by id
    $$,
    $$
    values
    ('completed', '{"message": "done"}'::jsonb, null, 2, true),
    ('pending', null, 'Not yet.', 1, false),
    ('running', null, null, 1, false),
    ('failed', null, 'It failed.', 2, true),
    ('pending', null, 'Now.', 1, false)
    $$,
    'each job is what became of it'
);
select is(tests.pending(), '~2:1 5:0 6:0', 'what is tried again is pending, with its own priority; now means now');
select is(
    (
        select extract(epoch from pending.run_at - clock_timestamp()) between 58 and 60
        from app.pending_jobs as pending
        where pending.id = tests.job(2)
    ),
    true,
    'what is tried again later is put off for so long'
);
set local role cardbase_worker;
select is(
    tests.finished('one', tests.attempt('acme', 1, 2, '{"status": "completed"}')),
    '',
    'what has ended does not end twice'
);
select is(tests.taken('one', 2), '5:2 6:1', 'what is tried again now is taken at once');
select is(
    tests.finished(
        'one',
        tests.attempt('acme', 5, 2, '{"status": "returned"}'),
        tests.attempt('acme', 6, 1, '{"status": "returned"}')
    ),
    '5 6',
    'jobs are given back'
);
reset role;
select results_eq(
    $$
    select
        status,
        error,
        attempts
    from app.jobs
    where id in (tests.job(5), tests.job(6))
    order by id
    $$,
    $$ values ('pending', 'Now.', 1), ('pending', null, 0) $$,
    'then that attempt was none'
);
select is(tests.pending(), '~2:1 5:0 6:0', 'and what was given back is ready');
set local role cardbase_worker;
select is((select count(*) from app.finish_jobs(tests.worker('one'), '[]')), 0::bigint, 'no outcome is none');
reset role;

select * from finish();
rollback;
