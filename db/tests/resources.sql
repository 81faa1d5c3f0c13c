begin;
\ir helpers/tests.psql
select plan(35);

-- app.set_caller
select lives_ok(
    $$ select app.set_caller(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a') $$,
    'a user of a tenant may act'
);
select is(app.current_tenant_id(), tests.tenant('acme'), 'the caller''s tenant is the transaction''s');
select is(
    app.current_user_id(), 'aaaaaaaa-0000-0000-0000-00000000000a'::uuid, 'the caller''s user is the transaction''s'
);
select is(
    tests.refusal($$ select app.set_caller(tests.tenant('acme'), null) $$) - 'hint',
    '{
        "code": "PT401",
        "message": "this call needs a user",
        "detail": "The caller is not a user.",
        "column": "",
        "constraint": "unauthenticated"
    }'::jsonb,
    'a caller who is no user is refused'
);
select throws_ok(
    $$ select app.set_caller(null, 'aaaaaaaa-0000-0000-0000-00000000000a') $$,
    'PT401',
    null,
    'a caller without a tenant is refused'
);
select set_config('app.current_user_id', '', true);
select is(app.current_user_id(), null, 'after a transaction there is no user');

-- app.success and app.page_meta
select is(
    app.success(200, '[1]', '{"page": 1}'),
    row(200, null, '{"success": true, "data": [1], "meta": {"page": 1}}'::jsonb, null)::api.reply,
    'an answer has success, data and meta'
);
select is(
    (app.success(201, '{}')).body,
    '{"success": true, "data": {}, "meta": null}'::jsonb,
    'where there is nothing to say meta is null'
);
select is(
    app.page_meta(1, 20, 0),
    '{"page": 1, "per_page": 20, "total": 0, "total_pages": 0}'::jsonb,
    'nothing is on no page'
);
select is((app.page_meta(1, 20, 20) ->> 'total_pages')::integer, 1, 'a full page is one page');
select is((app.page_meta(3, 20, 21) ->> 'total_pages')::integer, 2, 'one item more begins another page');
select is(
    app.page_meta(2147483647, 1, 5000000000) ->> 'total_pages', '5000000000', 'pages are counted beyond four bytes'
);

-- app.resource_name and app.resource_not_found
select results_eq(
    $$
    select app.resource_name(name)
    from unnest(array['memories', 'conversations', 'messages', 'tasks', 'integrations', 'users', 'user_preferences'])
        as name
    $$,
    array['memory', 'conversation', 'message', 'task', 'integration', 'user', 'user_preference'],
    'a row of each table has its name'
);
select is_empty(
    $$
    select name
    from unnest(array['memories', 'conversations', 'messages', 'tasks', 'integrations', 'users', 'user_preferences'])
        as name
    where to_regprocedure(format('app.%s_document(app.%s)', app.resource_name(name), name)) is null
    $$,
    'a row of each table has a function that shows it'
);
select is(
    tests.refusal($$ select app.resource_not_found('memories', 'aaaaaaaa-0000-0000-0000-000000000001') $$),
    '{
        "code": "PT404",
        "message": "memory not found",
        "detail": "No memory aaaaaaaa-0000-0000-0000-000000000001 is the caller''s own.",
        "hint": "It never existed, was deleted, or belongs to somebody else.",
        "column": "id",
        "constraint": "memory_not_found"
    }'::jsonb,
    'what is not found is named'
);
select is(
    tests.refusal($$ select app.resource_not_found('tasks', null, 'task_id') $$) - 'hint' - 'message' - 'code',
    '{"detail": "No task is the caller''s own.", "column": "task_id", "constraint": "task_not_found"}'::jsonb,
    'what is not found may have no id, and a field of its own'
);

-- app.provided_fields
select is(
    app.provided_fields('{"a": 1, "b": null, "c": {"d": null}}'),
    '{"a": 1, "c": {"d": null}}'::jsonb,
    'what was left out is not written, and nulls within a value are kept'
);
select is(
    app.provided_fields('{"a": 1, "b": null}', array['a', 'b']), '{"a": 1, "b": null}'::jsonb, 'what is emptied is null'
);
select is(app.provided_fields('{"a": null}'), '{}'::jsonb, 'nothing may be given');
select throws_ok(
    $$ select app.provided_fields('{"a": null}', array['tenant_id']) $$,
    'PT422',
    null,
    'only fields of the call are emptied'
);
select throws_ok(
    $$ select app.provided_fields('{"a": null}', array[null]) $$, 'PT422', null, 'no field without a name is emptied'
);

-- app.refuse_violation
select is(
    tests.refusal($$ select app.refuse_violation('memories', '', 'memories_content_check') $$),
    '{
        "code": "PT422",
        "message": "content is not valid",
        "detail": "Expected 1 to 100,000 characters.",
        "hint": "Nothing was stored.",
        "column": "content",
        "constraint": "validation_error"
    }'::jsonb,
    'the constraint''s comment says what was expected, its name which field'
);
select is(
    tests.refusal($$ select app.refuse_violation('memories', 'content', '') $$) ->> 'detail',
    'A value is required.',
    'a column that may not be null asks for a value'
);
select is_empty(
    $$
    select
        refusing.conrelid::regclass,
        refusing.conname
    from pg_constraint as refusing
    where
        refusing.conrelid = any(
            array[
                'app.users', 'app.user_preferences', 'app.memories', 'app.conversations', 'app.messages', 'app.tasks',
                'app.integrations'
            ]::regclass[]
        )
        and refusing.contype = 'c'
        and (
            obj_description(refusing.oid, 'pg_constraint') is null
            or not exists (
                select
                from pg_attribute
                where
                    pg_attribute.attrelid = refusing.conrelid
                    and format('%s_%s_check', split_part(refusing.conrelid::regclass::text, '.', 2), pg_attribute.attname)
                    = refusing.conname
            )
        )
    $$,
    'every check on what a user sends is named after its column, and says in its comment what is expected'
);

-- The five, on tasks
select app.set_caller(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a');
select is(
    ((app.create_resource('tasks', '{"title": "one", "status": null}')).body -> 'data')
    - array['id', 'created_at', 'updated_at'],
    '{"title": "one", "status": "pending", "priority": "medium", "due_at": null, "description": null}'::jsonb,
    'what is left out takes its default'
);
select throws_ok(
    $$ select app.create_resource('tasks', '{"title": null}') $$,
    'PT422',
    null,
    'a column without a default is required'
);
select throws_ok(
    $$ select app.get_resource('tasks', null) $$, 'PT404', null, 'no id finds no row'
);
select throws_ok(
    $$ select app.update_resource('tasks', null, '{"title": "all"}') $$, 'PT404', null, 'no id changes no row'
);
select throws_ok(
    $$ select app.delete_resource('tasks', null) $$, 'PT404', null, 'no id deletes no row'
);
select results_eq(
    'select title, deleted_at from app.tasks',
    $$ values ('one', null::timestamptz) $$,
    'calls without an id leave everything as it was'
);
select is(
    (app.list_resources('tasks', 1, 10, '{"status": "pending", "priority": null}')).body -> 'meta' ->> 'total',
    '1',
    'a filter that is null lets all through'
);
select is(
    (app.list_resources('tasks', 1, 10, '{"status": "completed"}')).body -> 'data',
    '[]'::jsonb,
    'a filter lets through what is equal'
);
select throws_ok(
    $$ select app.list_resources('tasks', 0, 10) $$, 'PT422', null, 'there is no page before the first'
);
select throws_ok(
    $$ select app.list_resources('tasks', 1, 1001) $$, 'PT422', null, 'a page has its bounds'
);
select is(
    (app.list_resources('tasks', 2147483647, 1000)).body,
    '{
        "success": true,
        "data": [],
        "meta": {"page": 2147483647, "per_page": 1000, "total": 1, "total_pages": 1}
    }'::jsonb,
    'a page beyond the last is empty'
);

select * from finish();
rollback;
