begin;
\ir helpers/tests.psql
select plan(21);

set local role cardbase_service;
create temporary table made as
select answer.*
from api.create_task(
    tests.tenant('acme'),
    'aaaaaaaa-0000-0000-0000-00000000000a',
    'write',
    'all of it',
    'in_progress',
    'urgent',
    '2027-01-02 03:04:05.678901+02'
) as answer;
create function pg_temp.made_id()
returns uuid
language sql
return (select (body -> 'data' ->> 'id')::uuid from made);
select is(
    (select (body -> 'data') - array['id', 'created_at', 'updated_at'] from made),
    '{
        "title": "write",
        "description": "all of it",
        "status": "in_progress",
        "priority": "urgent",
        "due_at": "2027-01-02T01:04:05.678901+00:00"
    }'::jsonb,
    'a task is shown as it was sent'
);
select is(
    (select body from api.get_task(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', pg_temp.made_id())),
    (select body from made),
    'a task is got as it was answered'
);
select is(
    (
        select (body -> 'data') - array['id', 'created_at', 'updated_at']
        from api.create_task(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', 'read')
    ),
    '{"title": "read", "description": null, "status": "pending", "priority": "medium", "due_at": null}'::jsonb,
    'a task may be no more than its title'
);
select
    is(
        tests.refusal(
            format(
                'select api.create_task(%L, ''aaaaaaaa-0000-0000-0000-00000000000a'', %s)',
                tests.tenant('acme'),
                arguments
            )
        ) - 'hint' - 'message',
        jsonb_build_object('code', 'PT422', 'column', field, 'constraint', 'validation_error', 'detail', detail),
        arguments || ' is refused'
    )
from (
    values
    ('null', 'title', 'A value is required.'),
    ($$''$$, 'title', 'Expected 1 to 500 characters.'),
    ($$repeat('x', 501)$$, 'title', 'Expected 1 to 500 characters.'),
    ($$'x', description => ''$$, 'description', 'Expected 1 to 20,000 characters.'),
    ($$'x', status => 'done'$$, 'status', 'Expected one of pending, in_progress, completed, cancelled.'),
    ($$'x', priority => 'HIGH'$$, 'priority', 'Expected one of low, medium, high, urgent.'),
    ($$'x', due_at => 'infinity'$$, 'due_at', 'Expected a point in time.')
) as refused (arguments, field, detail);

-- Lists
select is(
    (
        select jsonb_path_query_array(body, '$.data[*].title')
        from api.list_tasks(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a')
    ),
    '["read", "write"]'::jsonb,
    'the newest task comes first, and nothing that was refused is there'
);
select is(
    (
        select jsonb_path_query_array(body, '$.data[*].title')
        from api.list_tasks(
            tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', status => 'in_progress', priority => 'urgent'
        )
    ),
    '["write"]'::jsonb,
    'status and priority narrow the list together'
);
select is(
    (
        select body -> 'meta' ->> 'total'
        from api.list_tasks(
            tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', status => 'pending', priority => 'urgent'
        )
    ),
    '0',
    'a task has to pass all filters'
);

-- Changes
select is(
    (
        select (body -> 'data') - 'updated_at'
        from api.update_task(
            tests.tenant('acme'),
            'aaaaaaaa-0000-0000-0000-00000000000a',
            pg_temp.made_id(),
            status => 'completed',
            cleared_fields => array['due_at', 'description']
        )
    ),
    (select (body -> 'data') - 'updated_at' || '{"status": "completed", "due_at": null, "description": null}' from made
    ),
    'fields are changed and emptied at once'
);
select is(
    (
        select body -> 'data' ->> 'title'
        from api.update_task(
            tests.tenant('acme'),
            'aaaaaaaa-0000-0000-0000-00000000000a',
            pg_temp.made_id(),
            title => 'write more',
            cleared_fields => array['title']
        )
    ),
    'write more',
    'a field that is given is not emptied'
);
select
    is(
        tests.refusal(
            format(
                $$
            select api.update_task(
                tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', %L, cleared_fields => array[%L]
            )
            $$,
                pg_temp.made_id(),
                field
            )
        ) ->> 'detail',
        detail,
        format('%s is not emptied', field)
    )
from (
    values
    ('title', 'A value is required.'),
    ('deleted_at', 'There is no field deleted_at that could be emptied.'),
    ('user_id', 'There is no field user_id that could be emptied.')
) as refused (field, detail);

-- Deletion
select is(
    (
        select status
        from api.delete_task(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', pg_temp.made_id())
    ),
    204::smallint,
    'a task is deleted'
);
select throws_ok(
    format(
        $$
        select api.update_task(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', %L, title => 'x')
        $$,
        pg_temp.made_id()
    ),
    'PT404',
    null,
    'a deleted task is not changed'
);
select is(
    (
        select jsonb_path_query_array(body, '$.data[*].title')
        from api.list_tasks(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a')
    ),
    '["read"]'::jsonb,
    'a deleted task is in no list'
);
reset role;

select * from finish();
rollback;
