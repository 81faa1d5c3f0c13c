begin;
\ir helpers/tests.psql
\ir helpers/jobs.psql
select plan(3);

select is(tests.callers('find_ended_jobs'), 'cardbase_worker', 'only workers ask what has ended');

select
    tests.add_job('acme', 1, 'one', attempts => 1) as one,
    tests.add_job('acme', 2, 'one', attempts => 2) as two,
    tests.add_job('acme', 3, 'two', attempts => 1) as three,
    tests.add_job('acme', 4) as four,
    tests.add_job('acme', 5, 'one', attempts => 1) as five;
update app.jobs
set
    status = 'failed',
    error = 'cancelled'
where id = tests.job(5);

set local role cardbase_worker;
select results_eq(
    $$
    select
        tenant_id,
        id
    from
        app.find_ended_jobs(
            tests.worker('one'),
            jsonb_build_array(
                tests.attempt('acme', 1, 1),
                tests.attempt('acme', 2, 1),
                tests.attempt('acme', 3, 1),
                tests.attempt('acme', 4, 0),
                tests.attempt('acme', 5, 1),
                tests.attempt('globex', 1, 1)
            )
        )
    order by tenant_id, id
    $$,
    $$
    values
    (tests.tenant('acme'), tests.job(2)),
    (tests.tenant('acme'), tests.job(3)),
    (tests.tenant('acme'), tests.job(4)),
    (tests.tenant('acme'), tests.job(5)),
    (tests.tenant('globex'), tests.job(1))
    $$,
    'what was begun again, is another worker''s, was given back, was cancelled or is not there need not go on'
);
select is_empty(
    $$ select from app.find_ended_jobs(tests.worker('one'), '[]') $$, 'a worker that runs nothing has nothing to stop'
);
reset role;

select * from finish();
rollback;
