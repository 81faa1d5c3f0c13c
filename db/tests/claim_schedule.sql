begin;
\ir helpers/tests.psql
\ir helpers/jobs.psql
select plan(7);

select is(tests.callers('claim_schedule'), 'cardbase_worker', 'only workers run what is scheduled');

set local role cardbase_worker;
select is(app.claim_schedule('maintenance', 60), true, 'what never ran is due');
select is(app.claim_schedule('maintenance', 60), false, 'what has begun is not due before its period is over');
select is(app.claim_schedule('measuring', 60), true, 'each name has a period of its own');
reset role;
update app.schedules
set last_run_at = last_run_at - interval '61 minutes'
where name = 'maintenance';
set local role cardbase_worker;
select is(app.claim_schedule('maintenance', 60), true, 'when it is over it is due');
select is(app.claim_schedule('maintenance', 60), false, 'once, however many periods have passed');
select is(app.claim_schedule('measuring', 0), true, 'a period that was shortened counts from the last run');
reset role;

select * from finish();
rollback;
