begin;
\ir helpers/tests.psql
\ir helpers/jobs.psql
select plan(7);

insert into deployment.settings (name, value)
values ('tenant_pending_jobs', '3')
on conflict (name) do update set value = excluded.value;
select
    tests.add_job('acme', 1) as one,
    tests.add_job('acme', 2, run_in => 3600) as two,
    tests.add_job('acme', 3, 'one', attempts => 1) as three,
    tests.add_job('globex', 4) as four;

select tests.set_caller(tests.tenant('acme'), tests.person('ann'));
set local role cardbase_api;
select lives_ok(
    $$ select app.check_pending_jobs(tests.tenant('acme')) $$, 'what runs and what another tenant has does not count'
);
reset role;
select tests.add_job('acme', 5) as five;
set local role cardbase_api;
select is(
    tests.refusal($$ select app.check_pending_jobs(tests.tenant('acme')) $$),
    jsonb_build_object(
        'code', 'PT429',
        'message', 'too many jobs are pending',
        'detail', 'This tenant has 3 jobs pending, and may have no more.',
        'hint', 'Retry when some of them have been run. Nothing was enqueued.',
        'column', '',
        'constraint', 'rate_limited'
    ),
    'a tenant has no more pending than it may, put off or not'
);
set local role cardbase_gateway;
select is(
    tests.refusal($$ select api.enqueue_job(tests.tenant('acme'), null, 'test') $$) ->> 'code',
    'PT429',
    'so nothing more is enqueued'
);
select is(
    tests.refusal($$ select api.enqueue_test_job(tests.tenant('acme'), tests.person('ben')) $$) ->> 'code',
    'PT429',
    'for none of its users'
);
select lives_ok(
    $$ select api.enqueue_job(tests.tenant('globex'), null, 'test') $$, 'another tenant''s jobs are taken in'
);
select lives_ok(
    $$ select api.cancel_job(tests.tenant('acme'), null, tests.job(2)) $$, 'what is cancelled is pending no more'
);
select lives_ok(
    $$ select api.enqueue_job(tests.tenant('acme'), null, 'test') $$, 'so the next one is taken in'
);
reset role;

select * from finish();
rollback;
