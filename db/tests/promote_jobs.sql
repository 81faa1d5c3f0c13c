begin;
\ir helpers/tests.psql
\ir helpers/jobs.psql
select plan(4);

select is(tests.callers('promote_jobs'), '', 'nobody who logs in makes jobs ready');

select
    tests.add_job('acme', 1, run_in => 60) as one,
    tests.add_job('acme', 2, run_in => 60) as two,
    tests.add_job('acme', 3) as three;
update app.pending_jobs
set run_at = now() - interval '1 second'
where id = tests.job(2);
set local role cardbase_dispatcher;
select app.promote_jobs() as promoted;
reset role;
select is(tests.pending(), '~1:0 2:0 3:0', 'what is due becomes ready, and nothing else');

delete from app.pending_jobs;
insert into app.pending_jobs (tenant_id, id, priority, kind, run_at, is_ready)
select
    tests.tenant('acme'),
    app.uuid_v7(),
    0,
    'test',
    now() - make_interval(secs => number),
    false
from generate_series(1, 1001) as number;
set local role cardbase_dispatcher;
select app.promote_jobs() as promoted;
reset role;
select is(
    (
        select min(pending.run_at) = now() - interval '1 second' and count(*) = 1
        from app.pending_jobs as pending
        where not pending.is_ready
    ),
    true,
    'at most 1,000 at once, those that were due first'
);
set local role cardbase_dispatcher;
select app.promote_jobs() as promoted;
reset role;
select is((select bool_and(pending.is_ready) from app.pending_jobs as pending), true, 'then the others');

select * from finish();
rollback;
