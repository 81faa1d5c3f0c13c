begin;
\ir helpers/tests.psql
select plan(41);

create function tests.ann()
returns uuid
language sql
immutable
return 'aaaaaaaa-0000-0000-0000-00000000000a'::uuid;
-- What a call of api.enqueue_job is refused with; null: it is not.
create function tests.enqueue_refusal(arguments text)
returns jsonb
language sql
return tests.refusal(
    format('select api.enqueue_job(%L, %L, %s)', tests.tenant('acme'), tests.ann(), enqueue_refusal.arguments)
) - array['message', 'hint'];
grant execute on all functions in schema tests to public;

set local role cardbase_service;
create temporary table made as
select answer.*
from api.enqueue_job(
    tests.tenant('acme'),
    tests.ann(),
    'test',
    '{"message": "hello", "seconds": 0.5, "fail": false}',
    'high',
    '2999-01-01',
    7
) as answer;
create function pg_temp.made_id()
returns uuid
language sql
return (select (body -> 'data' ->> 'job_id')::uuid from made);
select is((select status from made), 202::smallint, 'a job is taken in');
select is(
    (select body #- '{data,job_id}' from made),
    '{"success": true, "data": {"status": "queued"}, "meta": null}'::jsonb,
    'the answer says that it is queued'
);
reset role;
select results_eq(
    $$
    select
        kind,
        queue,
        arguments,
        status,
        attempts,
        maximum_attempts
    from app.jobs
    where id = pg_temp.made_id() and user_id = tests.ann()
    $$,
    $$
    values
    ('test', 'high', '{"message": "hello", "seconds": 0.5, "fail": false}'::jsonb, 'pending', 0, 7)
    $$,
    'it is kept as it was sent'
);
select results_eq(
    $$
    select
        tenant_id,
        kind,
        priority::integer,
        run_at,
        is_ready
    from app.pending_jobs
    where id = pg_temp.made_id()
    $$,
    $$ values (tests.tenant('acme'), 'test', 1, '2999-01-01'::timestamptz, false) $$,
    'it is pending, and put off until then'
);

set local role cardbase_gateway;
select lives_ok(
    $$ select api.enqueue_job(tests.tenant('acme'), null, 'test') $$, 'a caller who is no user enqueues for the tenant'
);
reset role;
select results_eq(
    $$
    select
        job.user_id,
        job.queue,
        job.arguments,
        job.maximum_attempts,
        pending.priority::integer,
        pending.is_ready
    from app.jobs as job
    inner join app.pending_jobs as pending
        on
            pending.tenant_id = job.tenant_id
            and pending.id = job.id
    where job.tenant_id = tests.tenant('acme') and job.user_id is null
    $$,
    $$ values (null::uuid, 'default', '{}'::jsonb, 5, 0, true) $$,
    'what is left out has its default'
);
set local role cardbase_service;
select lives_ok(
    $$ select api.enqueue_job(tests.tenant('acme'), tests.ann(), 'test', queue => 'low') $$, 'there is a queue low'
);
reset role;
select is(
    (
        select pending.priority::integer
        from app.jobs as job
        inner join app.pending_jobs as pending on job.id = pending.id
        where job.queue = 'low'
    ),
    -1,
    'its jobs come last'
);

-- The queue high, and other names of queues
set local role cardbase_gateway;
set local session authorization cardbase_gateway;
select is(
    tests.enqueue_refusal($$'test', queue => 'high'$$),
    '{
        "code": "PT403",
        "column": "queue",
        "constraint": "forbidden",
        "detail": "The queue high is for the system and trusted services."
    }',
    'nobody jumps the queue by way of the gateway'
);
select is(
    tests.enqueue_refusal($$'test', queue => 'high_priority'$$) ->> 'code', 'PT403', 'nor by its other name'
);
select is(tests.enqueue_refusal($$'test', queue => 'low_priority'$$), null, 'the queue low has another name, too');
reset session authorization;

-- What is refused
set local role cardbase_service;
select
    is(
        tests.enqueue_refusal(refused.arguments),
        jsonb_build_object(
            'code', 'PT422', 'column', refused.field, 'constraint', 'validation_error', 'detail', refused.detail
        ),
        'refused: ' || refused.arguments
    )
from (
    values
    ($$'nothing'$$, 'kind', 'Expected one of embed_memory, notify, notify_user, sync_integration, test.'),
    ('null', 'kind', 'Expected one of embed_memory, notify, notify_user, sync_integration, test.'),
    ($$'test', '[]'$$, 'arguments', 'Expected an object, got array.'),
    ($$'test', '{"fail": 1}'$$, 'arguments.fail', 'Expected the JSON type boolean.'),
    ($$'test', '{"message": null}'$$, 'arguments.message', 'Expected the JSON type string.'),
    ($$'test', '{"seconds": 5.01}'$$, 'arguments.seconds', 'Expected 0 to 5, got 5.01.'),
    ($$'test', '{"seconds": -1}'$$, 'arguments.seconds', 'Expected 0 to 5, got -1.'),
    ($$'test', '{"seconds": "1"}'$$, 'arguments.seconds', 'Expected the JSON type number.'),
    ($$'test', '{"speed": 1}'$$, 'arguments.speed', 'A job of the kind test has no such argument.'),
    ($$'embed_memory'$$, 'arguments.memory_id', 'This field is required.'),
    ($$'embed_memory', '{"memory_id": "x"}'$$, 'arguments.memory_id', 'Expected a UUID.'),
    ($$'embed_memory', '{"memory_id": 1}'$$, 'arguments.memory_id', 'Expected a UUID.'),
    (
        $$'notify', '{"integration_id": "aaaaaaaa-0000-0000-0000-000000000000", "event_type": "x"}'$$,
        'arguments.payload',
        'This field is required.'
    ),
    (
        $$'test', jsonb_build_object('message', repeat('x', 65536))$$,
        'arguments',
        'Expected at most 65,536 bytes, got 65551.'
    ),
    ($$'test', queue => 'HIGH'$$, 'queue', 'Expected one of high, default, low.'),
    ($$'test', run_after => 'infinity'$$, 'run_after', 'Expected a point in time.'),
    ($$'test', maximum_attempts => 0$$, 'maximum_attempts', 'Expected 1 to 20, got 0.'),
    ($$'test', maximum_attempts => 21$$, 'maximum_attempts', 'Expected 1 to 20, got 21.')
) as refused (arguments, field, detail);
select is(tests.enqueue_refusal($$'test', '{"seconds": 5}'$$), null, 'a test may take five seconds');
select is(
    tests.enqueue_refusal(
        $$'notify', '{"integration_id": "aaaaaaaa-0000-0000-0000-000000000000", "event_type": "x", "payload": null}'$$
    ),
    null,
    'an argument that may be anything may be null'
);
select is(
    tests.refusal($$ select api.enqueue_job(null, tests.ann(), 'test') $$) ->> 'code',
    '42501',
    'without a tenant nothing is enqueued'
);
reset role;
select is((select count(*) from app.jobs), 3::bigint, 'nothing that was refused is kept');
select is((select count(*) from app.pending_jobs), 3::bigint, 'nothing that was refused is pending');

-- Idempotency
set local role cardbase_service;
create temporary table first as
select answer.*
from api.enqueue_job(tests.tenant('acme'), tests.ann(), 'test', idempotency_key => 'key') as answer;
select is((select headers ->> 'X-Idempotency-Cache' from first), 'MISS', 'the first request with a key does the work');
select results_eq(
    $$
    select
        answer.status,
        answer.headers ->> 'X-Idempotency-Cache',
        answer.body
    from api.enqueue_job(tests.tenant('acme'), tests.ann(), 'test', idempotency_key => '"key"') as answer
    $$,
    $$ select 202::smallint, 'HIT', body from first $$,
    'the same again answers the same job'
);
select throws_ok(
    $$ select api.enqueue_job(tests.tenant('acme'), tests.ann(), 'test', queue => 'low', idempotency_key => 'key') $$,
    'PT422',
    'the idempotency key was used for another request',
    'another request with the key is refused'
);
select isnt(
    (
        select body
        from
            api.enqueue_job(
                tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000b', 'test', idempotency_key => 'key'
            )
    ),
    (select body from first),
    'another user''s equal key is another one'
);
select isnt(
    (select body from api.enqueue_job(tests.tenant('acme'), null, 'test', idempotency_key => 'key')),
    (select body from first),
    'the tenant''s own equal key is another one, too'
);

-- The job for a test
select results_eq(
    $$
    select
        answer.status,
        answer.headers ->> 'X-Idempotency-Cache'
    from api.enqueue_test_job(tests.tenant('acme'), tests.ann(), 'hi', 0.25, true, 'test key') as answer
    $$,
    $$ values (202::smallint, 'MISS') $$,
    'a job to test with is enqueued'
);
reset role;
select is(
    (select arguments from app.jobs where arguments ->> 'message' = 'hi'),
    '{"message": "hi", "seconds": 0.25, "fail": true}'::jsonb,
    'what it is to do are its arguments'
);

select * from finish();
rollback;
