begin;
\ir helpers/tests.psql
select plan(14);

set local role cardbase_api;
select lives_ok(format('select app.check_job_arguments(%L, %L)', passed.kind, passed.arguments), passed.rule)
from (
    values
    ('test', '{}', 'arguments whose type ends in ? may be left out'),
    ('test', '{"fail": true, "message": "hi", "seconds": 1.5}', 'each may be given, with its type'),
    ('embed_memory', '{"memory_id": "01000000-0000-7000-8000-00000000000A"}', 'a UUID may have upper case'),
    (
        'notify',
        '{"integration_id": "01000000-0000-7000-8000-000000000001", "event_type": "x", "payload": null}',
        'any is any JSON value'
    )
) as passed (kind, arguments, rule);

select
    is(
        tests.refusal(format('select app.check_job_arguments(%L, %L)', refused.kind, refused.arguments))
        - array['hint', 'message'],
        jsonb_build_object(
            'code', 'PT422', 'detail', refused.detail, 'column', refused.field, 'constraint', 'validation_error'
        ),
        format('refused: %s %s', refused.kind, refused.arguments)
    )
from (
    values
    ('bake', '{}', 'kind', 'Expected one of embed_memory, notify, notify_user, sync_integration, test.'),
    ('test', '[]', 'arguments', 'Expected an object, got array.'),
    ('test', '{"fail": null}', 'arguments.fail', 'Expected the JSON type boolean.'),
    ('test', '{"speed": 1}', 'arguments.speed', 'A job of the kind test has no such argument.'),
    ('embed_memory', '{}', 'arguments.memory_id', 'This field is required.'),
    ('embed_memory', '{"memory_id": "1"}', 'arguments.memory_id', 'Expected a UUID.')
) as refused (kind, arguments, field, detail);

select is(
    tests.refusal('select app.check_job_arguments(null, null)') ->> 'column', 'kind', 'no kind at all is refused'
);
select is(
    tests.refusal($$ select app.check_job_arguments('test', null) $$) ->> 'column',
    'arguments',
    'so are no arguments at all'
);
select is(
    tests.refusal(
        format(
            'select app.check_job_arguments(%L, %L)', 'test', jsonb_build_object('message', repeat('x', 65536))
        )
    ) ->> 'message',
    'the arguments are too long',
    'so are more than 65,536 bytes'
);
reset role;

select is_empty(
    $$
    select
        kind.name,
        argument.name
    from jsonb_each(app.job_kinds()) as kind (name, arguments)
    cross join jsonb_each_text(kind.arguments) as argument (name, type)
    where rtrim(argument.type, '?') not in ('uuid', 'any', 'string', 'number', 'boolean', 'object', 'array')
    $$,
    'every argument of every kind has a type that can be checked'
);

select * from finish();
rollback;
