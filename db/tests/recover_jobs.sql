begin;
\ir helpers/tests.psql
\ir helpers/jobs.psql
select plan(10);

select is(tests.callers('recover_jobs'), 'cardbase_worker', 'only workers recover jobs');

select
    tests.add_job('acme', 1, 'dead', attempts => 1) as one,
    tests.add_job('globex', 2, 'dead', attempts => 5) as two,
    tests.add_job('acme', 3, 'one', attempts => 1) as three,
    -- It has no row any more.
    tests.add_job('globex', 4, 'two', attempts => 2, queue => 'high') as four;
update app.jobs
set error = 'Not yet.'
where id = tests.job(1);
insert into app.workers (worker_id, host, last_seen_at, alive_since, expires_at)
values
(tests.worker('one'), 'here', now(), now() - interval '14 seconds', now() + interval '15 seconds'),
(tests.worker('dead'), 'there', now() - interval '1 minute', now() - interval '1 day', now() - interval '1 second');

set local role cardbase_worker;
select is(app.recover_jobs(), 0::bigint, 'nothing is recovered before a worker has reported for as long as it must');
reset role;
select is(tests.pending(), '', 'for the others may only have had no time to report since the database was away');
update app.workers
set alive_since = now() - interval '16 seconds'
where worker_id = tests.worker('one');
set local role cardbase_worker;
select is(app.recover_jobs(1), 1::bigint, 'then so many are recovered at most');
select is(app.recover_jobs(), 2::bigint, 'then the others');
reset role;
select results_eq(
    $$
    select
        status,
        attempts,
        error,
        completed_at is not null
    from app.jobs
    order by id
    $$,
    $$
    values
    ('pending', 1, 'Not yet.', false),
    ('failed', 5, 'Its worker was lost during the last attempt.', true),
    ('running', 1, null, false),
    ('pending', 2, null, false)
    $$,
    'the attempt counts, and after the last one the job fails; what a live worker runs it runs on'
);
select is(tests.pending(), '1:0 4:1', 'what is recovered is pending');
set local role cardbase_worker;
select is(app.recover_jobs(), 0::bigint, 'no job is recovered twice');
select is(
    tests.finished('dead', tests.attempt('acme', 1, 1, '{"status": "completed"}')),
    '',
    'what the worker says later, if it was not dead after all, does not count'
);
select throws_ok(
    'select app.recover_jobs(0)', '22023', 'maximum is out of range', 'refused: to recover none'
);
reset role;

select * from finish();
rollback;
