begin;
\ir helpers/tests.psql
\ir helpers/jobs.psql
select plan(8);

select is(tests.callers('enqueue'), '', 'nobody who logs in enqueues past the checks');

insert into deployment.settings (name, value)
values ('tenant_pending_jobs', '1')
on conflict (name) do update set value = excluded.value;
select tests.set_caller(tests.tenant('acme'), tests.person('ann'));
set local role cardbase_api;
create temporary table made as
select
    app.enqueue(tests.tenant('acme'), tests.person('ann'), 'test', '{"message": "hi"}') as one,
    app.enqueue(tests.tenant('acme'), null, 'test', '{}', 'low', now() + interval '1 hour', 7) as two,
    app.enqueue(tests.tenant('acme'), null, 'test', '{}', 'high', now() - interval '1 hour') as three;
select throws_ok(
    $$ select app.enqueue(tests.tenant('globex'), null, 'test', '{}') $$, '42501', null, 'only for the current tenant'
);
select throws_ok(
    $$ select app.enqueue(tests.tenant('acme'), tests.person('ben'), 'test', '{}') $$,
    '42501',
    null,
    'only for the current user, or for no user'
);
reset role;
select results_eq(
    $$
    select
        job.user_id,
        job.kind,
        job.queue,
        job.arguments,
        job.status,
        job.attempts,
        job.maximum_attempts
    from app.jobs as job
    order by job.id
    $$,
    $$
    values
    (tests.person('ann'), 'test', 'default', '{"message": "hi"}'::jsonb, 'pending', 0, 5),
    (null, 'test', 'low', '{}', 'pending', 0, 7),
    (null, 'test', 'high', '{}', 'pending', 0, 5)
    $$,
    'jobs are kept as they were given, however many are pending'
);
select set_eq(
    'select id from app.jobs', 'select unnest(array[one, two, three]) from made', 'their ids are returned'
);
select results_eq(
    $$
    select
        pending.priority::integer,
        pending.kind,
        pending.is_ready,
        pending.run_at between now() - interval '1 second' and clock_timestamp()
    from app.pending_jobs as pending
    order by pending.id
    $$,
    $$ values (0, 'test', true, true), (-1, 'test', false, false), (1, 'test', true, true) $$,
    'each is pending; what is put off is not ready, and what was to run before now is pending since now'
);
select is(
    (select pending.run_at from app.pending_jobs as pending where not pending.is_ready),
    now() + interval '1 hour',
    'it is put off until the time given'
);
select is(
    (
        select count(*)
        from app.jobs as job
        inner join app.pending_jobs as pending
            on
                job.tenant_id = pending.tenant_id
                and job.id = pending.id
        where pending.kind = job.kind
    ),
    3::bigint,
    'all are in both tables'
);

select * from finish();
rollback;
