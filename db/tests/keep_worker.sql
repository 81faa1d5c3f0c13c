begin;
\ir helpers/tests.psql
\ir helpers/jobs.psql
select plan(6);

select is(tests.callers('keep_worker'), 'cardbase_worker', 'only workers say that they live');

set local role cardbase_worker;
select app.keep_worker(tests.worker('one'), 'here', 15, 10, array['high', 'default']) as kept;
reset role;
select results_eq(
    $$
    select
        host,
        slots,
        queues,
        last_seen_at = alive_since,
        expires_at - last_seen_at
    from app.workers
    $$,
    $$ values ('here', 10, array['high', 'default'], true, interval '15 seconds') $$,
    'a worker says for how long it lives, and what it can do'
);
update app.workers
set alive_since = now() - interval '1 hour';
set local role cardbase_worker;
select app.keep_worker(tests.worker('one'), 'here', 15, 20, array['low']) as kept;
reset role;
select results_eq(
    $$
    select
        slots,
        queues,
        alive_since = now() - interval '1 hour',
        expires_at > clock_timestamp() + interval '14 seconds'
    from app.workers
    $$,
    $$ values (20, array['low'], true, true) $$,
    'it says so again, in time: it has lived without a gap'
);
update app.workers
set expires_at = now() - interval '1 second';
set local role cardbase_worker;
select app.keep_worker(tests.worker('one'), 'here', 15, 20, array['low']) as kept;
reset role;
select is(
    (select worker.alive_since >= now() and worker.alive_since = worker.last_seen_at from app.workers as worker),
    true,
    'one that says so too late begins anew'
);

update app.workers
set expires_at = now() - interval '25 hours';
set local role cardbase_worker;
select app.keep_worker(tests.worker('two'), 'there', 15, 10, array['low']) as kept;
reset role;
select results_eq(
    'select worker_id from app.workers', $$ values (tests.worker('two')) $$, 'one that died yesterday is forgotten'
);
set local role cardbase_service;
select throws_ok(
    $$ select app.keep_worker(tests.worker('two'), 'there', 15, 10, array['low']) $$,
    '42501',
    null,
    'a service is no worker'
);
reset role;

select * from finish();
rollback;
