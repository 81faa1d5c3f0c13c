begin;
\ir helpers/tests.psql
select plan(28);

-- Ann and Ben are users of acme; a user of globex has Ann's id.
insert into app.jobs (tenant_id, id, user_id, kind, queue, arguments, maximum_attempts, status, error, attempts)
select
    tests.tenant(job.home),
    ('aaaaaaaa-0000-0000-0000-00000000000' || job.number)::uuid as id,
    tests.person(job.owner),
    'test',
    'default',
    '{"message": "private"}',
    5,
    job.status,
    job.error,
    1 as attempts
from (
    values
    ('acme', 1, 'ann', 'completed', null),
    ('acme', 2, 'ann', 'failed', 'It failed.'),
    ('acme', 3, null, 'completed', null),
    ('acme', 4, 'ben', 'pending', null),
    ('acme', 5, 'ann', 'pending', null),
    ('acme', 6, 'ann', 'running', null),
    ('globex', 7, 'ann', 'pending', null),
    ('globex', 8, null, 'pending', null)
) as job (home, number, owner, status, error);
insert into app.pending_jobs (tenant_id, id, priority, kind, run_at, is_ready)
select
    job.tenant_id,
    job.id,
    0,
    job.kind,
    now(),
    true
from app.jobs as job
where job.status = 'pending';

-- The last digits of the ids of what a caller is shown.
create function tests.listed(tenant_name text, user_name text, status text default null, maximum integer default 20)
returns text
language sql
return (
    select coalesce(string_agg(right(element.job ->> 'id', 1), ' ' order by element.position), '')
    from
        api.list_jobs(
            tests.tenant(listed.tenant_name), tests.person(listed.user_name), listed.status, listed.maximum
        ) as answer
    cross join jsonb_array_elements(answer.body -> 'data') with ordinality as element (job, position)
);
create function tests.job(number integer)
returns uuid
language sql
immutable
return ('aaaaaaaa-0000-0000-0000-00000000000' || job.number)::uuid;
grant execute on all functions in schema tests to public;

-- One
set local role cardbase_gateway;
select is(
    (
        select (body -> 'data') - 'created_at'
        from api.get_job(tests.tenant('acme'), tests.person('ann'), tests.job(2))
    ),
    '{
        "id": "aaaaaaaa-0000-0000-0000-000000000002",
        "kind": "test",
        "queue": "default",
        "status": "failed",
        "result": null,
        "error": "It failed.",
        "attempts": 1,
        "maximum_attempts": 5,
        "started_at": null,
        "completed_at": null
    }'::jsonb,
    'a job is shown without its arguments'
);
select
    is(
        tests.refusal(
            format(
                'select api.%s(tests.tenant(%L), tests.person(%L), tests.job(%s))',
                verb.name,
                caller.home,
                caller.name,
                caller.number
            )
        ) - 'message' - 'hint',
        jsonb_build_object(
            'code', 'PT404',
            'column', 'id',
            'constraint', 'job_not_found',
            'detail', format('No job %s is the caller''s own.', tests.job(caller.number))
        ),
        format('%s of %s does not %s job %s', caller.name, caller.home, verb.name, caller.number)
    )
from (values ('get_job'), ('cancel_job')) as verb (name)
cross join (
    values
    ('acme', 'ben', 5),
    ('acme', null, 5),
    ('globex', 'ann', 5),
    ('globex', 'ann', 3),
    ('acme', 'ann', 8)
) as caller (home, name, number);
select lives_ok(
    $$ select api.get_job(tests.tenant('acme'), tests.person('ben'), tests.job(3)) $$,
    'the tenant''s own job is for each of its users'
);
select lives_ok(
    $$ select api.get_job(tests.tenant('acme'), null, tests.job(3)) $$, 'and for a caller who is no user'
);

-- Lists
select is(tests.listed('acme', 'ann'), '6 5 3 2 1', 'a user sees the own jobs and the tenant''s, newest first');
select is(tests.listed('acme', 'ben'), '4 3', 'and no other user''s');
select is(tests.listed('acme', null), '3', 'who is no user sees the tenant''s alone');
select is(tests.listed('acme', 'ann', 'completed'), '3 1', 'a status narrows the list');
select is(tests.listed('acme', 'ann', null, 2), '6 5', 'a limit keeps the newest');
select throws_ok(
    $$ select tests.listed('acme', 'ann', 'done') $$, 'PT422', 'status is not valid', 'there are four statuses'
);
select throws_ok(
    $$ select tests.listed('acme', 'ann', null, 1001) $$, 'PT422', 'limit is out of range', 'a list has a limit'
);

-- Cancelling
select is(
    (
        select jsonb_build_array(body -> 'data' -> 'status', body -> 'data' -> 'error')
        from api.cancel_job(tests.tenant('acme'), tests.person('ann'), tests.job(5))
    ),
    '["failed", "cancelled"]'::jsonb,
    'a pending job that is cancelled has failed'
);
select is(
    (
        select jsonb_build_array(body -> 'data' -> 'status', body -> 'data' -> 'error')
        from api.cancel_job(tests.tenant('acme'), tests.person('ann'), tests.job(6))
    ),
    '["failed", "cancelled"]'::jsonb,
    'so has a running one'
);
select lives_ok(
    $$ select api.cancel_job(tests.tenant('acme'), tests.person('ann'), tests.job(6)) $$,
    'to cancel it again changes nothing'
);
select throws_ok(
    $$ select api.cancel_job(tests.tenant('acme'), tests.person('ann'), tests.job(1)) $$,
    'PT409',
    'the job has ended',
    'a completed job is not cancelled'
);
select throws_ok(
    $$ select api.cancel_job(tests.tenant('acme'), tests.person('ann'), tests.job(2)) $$,
    'PT409',
    'the job has ended',
    'nor is one that failed'
);
reset role;
select results_eq(
    'select id from app.pending_jobs order by id',
    'values (tests.job(4)), (tests.job(7)), (tests.job(8))',
    'what was cancelled is no longer pending, and nothing else is touched'
);

-- The policy beneath
set local role cardbase_api;
select
    set_config('app.current_tenant_id', tests.tenant('acme')::text, true) as tenant,
    set_config('app.current_user_id', tests.person('ben')::text, true) as person;
select is_empty(
    $$ select from app.jobs where tenant_id <> tests.tenant('acme') or user_id = tests.person('ann') $$,
    'a tenant''s user sees neither another tenant''s jobs nor another user''s'
);
select throws_ok(
    $$
    insert into app.jobs (tenant_id, user_id, kind, queue, arguments, maximum_attempts)
    values (tests.tenant('acme'), tests.person('ann'), 'test', 'default', '{}', 1)
    $$,
    '42501',
    null,
    'nor writes one for somebody else'
);
reset role;

select * from finish();
rollback;
