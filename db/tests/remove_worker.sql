begin;
\ir helpers/tests.psql
\ir helpers/jobs.psql
select plan(5);

select is(tests.callers('remove_worker'), 'cardbase_worker', 'only workers take their leave');

select
    tests.add_job('acme', 1, 'one', attempts => 1) as one,
    tests.add_job('globex', 2, 'one', attempts => 3, queue => 'low') as two,
    tests.add_job('acme', 3, 'two', attempts => 1) as three;
insert into app.workers (worker_id, host, expires_at)
values (tests.worker('one'), 'here', now() + interval '1 hour'), (tests.worker('two'), 'there', now());

set local role cardbase_worker;
select app.remove_worker(tests.worker('one')) as removed;
reset role;
select results_eq(
    'select worker_id from app.workers', $$ values (tests.worker('two')) $$, 'a worker that has ended is forgotten'
);
select results_eq(
    $$
    select
        status,
        attempts
    from app.jobs
    order by id
    $$,
    $$ values ('pending', 0), ('pending', 2), ('running', 1) $$,
    'what it was running is given back, and that attempt was none'
);
select is(tests.pending(), '1:0 2:-1', 'others can take it at once');
set local role cardbase_worker;
select lives_ok($$ select app.remove_worker(tests.worker('one')) $$, 'to take its leave twice changes nothing');
reset role;

select * from finish();
rollback;
