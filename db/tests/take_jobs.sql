begin;
\ir helpers/tests.psql
\ir helpers/jobs.psql
select plan(29);

select is(tests.callers('take_jobs'), 'cardbase_worker', 'only workers take jobs');

-- What is taken, and what it says
select tests.add_job('acme', 1) as added;
update app.jobs set user_id = tests.person('ann');
set local role cardbase_worker;
select results_eq(
    $$
    select
        tenant_id,
        user_id,
        id,
        kind,
        arguments,
        attempt,
        maximum_attempts
    from app.take_jobs(tests.worker('one'), 1, array['default'], array['test'], null, 10)
    $$,
    $$
    values
    (tests.tenant('acme'), tests.person('ann'), tests.job(1), 'test', '{"message": 1}'::jsonb, 1, 5)
    $$,
    'a job is given with all that it takes to run it'
);
reset role;
select results_eq(
    $$
    select
        status,
        attempts,
        worker_id,
        started_at is not null,
        completed_at
    from app.jobs
    $$,
    $$ values ('running', 1, tests.worker('one'), true, null::timestamptz) $$,
    'it is running, for that worker'
);
select is(tests.pending(), '', 'it is no longer pending');
set local role cardbase_worker;
select is(tests.taken('two'), '', 'no other worker is given it');
select is(tests.taken('one'), '', 'nor is the same one, twice');
reset role;
delete from app.jobs;

-- Order
select
    tests.add_job('acme', 2, queue => 'low') as two,
    tests.add_job('acme', 3) as three,
    tests.add_job('acme', 4, queue => 'high') as four,
    tests.add_job('acme', 5) as five,
    tests.add_job('globex', 6, queue => 'low') as six,
    tests.add_job('globex', 7, kind => 'unheard') as seven;
set local role cardbase_worker;
select is(tests.taken('one', 1), '4:1', 'of a tenant''s jobs the one with the highest priority is the first');
select is(
    tests.taken('one', 2, after_name => 'acme'),
    '6:1 3:1',
    'the turn begins after the tenant that was the last, and goes round; another tenant''s jobs have no lower priority'
);
select is(tests.taken('one', 1), '5:1', 'then come those that were enqueued first');
select is(
    tests.taken('one', queues => array['high', 'default']), '', 'a queue that is not the worker''s is left alone'
);
select is(tests.taken('one', queues => array['nothing']), '', 'a queue that there is not has nothing');
select is(tests.taken('one', after_name => 'acme'), '2:1', 'a kind that the worker does not know is left alone');
select is(tests.taken('one', kinds => array['unheard']), '7:1', 'for a worker that knows it');
reset role;
delete from app.jobs;

-- Shares
select tests.add_job('acme', number) from generate_series(11, 19) as number;
select tests.add_job('globex', 21) as added;
set local role cardbase_worker;
select is(tests.taken('one', 4), '11:1 12:1 21:1', 'each tenant gets the same share, however many jobs another has');
select is(tests.taken('one', 1), '13:1', 'what is left over is for those that have more');
select is(tests.taken('one', 2, tenant_running => 4), '14:1', 'a tenant runs no more at once than it may');
select is(tests.taken('two', 2, tenant_running => 4), '', 'over all workers together');
select is(
    tests.finished('one', tests.attempt('acme', 12, 1, '{"status": "completed"}')), '12', 'when one has ended'
);
select is(tests.taken('two', 2, tenant_running => 4), '15:1', 'the next may run');
reset role;

-- The bound that nobody set
insert into app.workers (worker_id, host, expires_at, slots)
values
(tests.worker('one'), 'here', now() + interval '1 hour', 8),
(tests.worker('two'), 'there', now() + interval '1 hour', 5),
(tests.worker('dead'), 'there', now() - interval '1 second', 100);
set local role cardbase_worker;
select is(
    (
        select count(*)
        from app.take_jobs(tests.worker('one'), 8, array['default'], array['test'])
    ),
    2::bigint,
    'else a tenant may run half of what all workers that live can'
);
reset role;
delete from app.workers;
delete from app.jobs;
delete from app.pending_jobs;
select tests.add_job('acme', number) from generate_series(11, 12) as number;
set local role cardbase_worker;
select is(
    (
        select count(*)
        from app.take_jobs(tests.worker('one'), 8, array['default'], array['test'])
    ),
    1::bigint,
    'and one job where no worker has said how many it can'
);
reset role;
delete from app.jobs;
delete from app.pending_jobs;

-- What is put off
select tests.add_job('acme', 31, run_in => 60) as added;
set local role cardbase_worker;
select is(tests.taken('one'), '', 'what is put off is not taken');
reset role;
update app.pending_jobs set run_at = now() - interval '1 second';
set local role cardbase_worker;
select is(tests.taken('one'), '31:1', 'before it is due');
reset role;

-- Isolation and bad input
set local role cardbase_api;
select tests.set_tenant(tests.tenant('globex'));
select throws_ok(
    $$ select * from app.take_jobs(tests.worker('one'), 1, array['default'], array['test']) $$,
    '42501',
    null,
    'a call of the API takes no job'
);
reset role;
select is(
    (select current_setting('app.current_tenant_id')), tests.tenant('globex')::text, 'the tenant of a caller stays set'
);
set local role cardbase_worker;
select
    throws_ok(
        format('select tests.taken(%L, %s, tenant_running => %s)', 'one', refused.maximum, refused.bound),
        '22023',
        'maximum or tenant_running is out of range',
        format('refused: %s jobs at most, %s of a tenant', refused.maximum, refused.bound)
    )
from (values ('0', '1'), ('10001', '1'), ('null', '1'), ('1', '0')) as refused (maximum, bound);
reset role;

select * from finish();
rollback;
