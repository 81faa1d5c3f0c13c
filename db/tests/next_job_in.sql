begin;
\ir helpers/tests.psql
\ir helpers/jobs.psql
select plan(6);

select is(tests.callers('next_job_in'), 'cardbase_worker', 'only workers ask when the next job is due');

select tests.add_job('acme', 1) as added;
set local role cardbase_worker;
select is(app.next_job_in(), null, 'no job is put off');
reset role;
select
    tests.add_job('acme', 2, run_in => 120) as two,
    tests.add_job('globex', 3, run_in => 60) as three;
set local role cardbase_worker;
select is(app.next_job_in() between 50 and 60, true, 'the next one that is put off counts, of any tenant');
reset role;
update app.pending_jobs
set run_at = now() - interval '1 minute'
where id = tests.job(2);
set local role cardbase_worker;
select is(app.next_job_in(), 0::double precision, 'one that is due already is due now');
select is(tests.taken('one'), '1:1 2:1', 'it is taken');
select is(app.next_job_in() between 50 and 60, true, 'then the one that follows counts');
reset role;

select * from finish();
rollback;
