begin;
\ir helpers/tests.psql
select plan(25);

set local role cardbase_service;
create temporary table made as
select answer.*
from api.create_memory(
    tests.tenant('acme'),
    'aaaaaaaa-0000-0000-0000-00000000000a',
    'likes Tea',
    'preference',
    '{"source": null, "n": 1.50}'
) as answer;
select is((select status from made), 201::smallint, 'a new memory is answered with 201');
select is(
    (select (body -> 'data') - array['id', 'created_at', 'updated_at'] from made),
    '{"content": "likes Tea", "memory_type": "preference", "metadata": {"source": null, "n": 1.50}}'::jsonb,
    'a memory is shown as it was sent'
);
create function pg_temp.made_id()
returns uuid
language sql
return (select (body -> 'data' ->> 'id')::uuid from made);
select is(
    (select body from api.get_memory(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', pg_temp.made_id())),
    (select body from made),
    'a memory is got as it was answered'
);
select is(
    (
        select body -> 'data' ->> 'memory_type'
        from api.create_memory(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', 'met Bo')
    ),
    'general',
    'a memory without a type is general'
);

-- What is refused
select
    is(
        tests.refusal(
            format(
                'select api.create_memory(%L, ''aaaaaaaa-0000-0000-0000-00000000000a'', %s)',
                tests.tenant('acme'),
                arguments
            )
        ) ->> 'column',
        field,
        arguments || ': the field is named'
    )
from (
    values
    ('null', 'content'),
    ($$''$$, 'content'),
    ($$repeat('x', 100001)$$, 'content'),
    ($$'x', ''$$, 'memory_type'),
    ($$'x', repeat('x', 51)$$, 'memory_type'),
    ($$'x', metadata => '[]'$$, 'metadata')
) as refused (arguments, field);

-- Lists
select is(
    (
        select body -> 'meta' from api.list_memories(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a')
    ),
    '{"page": 1, "per_page": 20, "total": 2, "total_pages": 1}'::jsonb,
    'nothing that was refused is in the list'
);
select is(
    (
        select jsonb_path_query_array(body, '$.data[*].content')
        from api.list_memories(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a')
    ),
    '["met Bo", "likes Tea"]'::jsonb,
    'the newest comes first'
);
select is(
    (
        select body - 'success'
        from api.list_memories(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', page => 2, per_page => 1)
    ),
    (
        select
            jsonb_build_object(
                'data', jsonb_build_array(body -> 'data'),
                'meta', '{"page": 2, "per_page": 1, "total": 2, "total_pages": 2}'::jsonb
            )
        from made
    ),
    'the second page goes on where the first ends'
);
select is(
    (
        select jsonb_path_query_array(body, '$.data[*].content')
        from api.list_memories(
            tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', memory_type => 'preference'
        )
    ),
    '["likes Tea"]'::jsonb,
    'a type narrows the list'
);
select is(
    (
        select jsonb_path_query_array(body, '$.data[*].content')
        from api.list_memories(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', q => 'TEA')
    ),
    '["likes Tea"]'::jsonb,
    'a text narrows the list, in whatever case'
);
select is(
    (
        select body -> 'meta' ->> 'total'
        from api.list_memories(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', q => '%')
    ),
    '0',
    'a text is taken as it is, and no pattern'
);
select is(
    (
        select body -> 'meta' ->> 'total'
        from api.list_memories(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000b')
    ),
    '0',
    'another user of the tenant has no memories'
);

-- Changes
select is(
    (
        select (body -> 'data') - 'updated_at'
        from api.update_memory(
            tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', pg_temp.made_id(), metadata => '{}'
        )
    ),
    (select ((body -> 'data') - 'updated_at') || '{"metadata": {}}' from made),
    'what is given is changed, and nothing else'
);
select cmp_ok(
    (
        select (body -> 'data' ->> 'updated_at')::timestamptz
        from api.get_memory(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', pg_temp.made_id())
    ),
    '>',
    (select (body -> 'data' ->> 'updated_at')::timestamptz from made),
    'a change has its time'
);
select is(
    (
        select changed.body
        from api.update_memory(
            tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', pg_temp.made_id()
        ) as changed
    ),
    (
        select got.body
        from api.get_memory(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', pg_temp.made_id()) as got
    ),
    'an update of nothing changes nothing'
);
select throws_ok(
    format(
        $$ select api.update_memory(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', %L, content => '') $$,
        pg_temp.made_id()
    ),
    'PT422',
    null,
    'a memory is not emptied'
);

-- Deletion
select results_eq(
    format(
        $$
        select status, body
        from api.delete_memory(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', %L)
        $$,
        pg_temp.made_id()
    ),
    $$ values (204::smallint, null::jsonb) $$,
    'a deletion is answered with 204 and no body'
);
select
    is(
        tests.refusal(
            format(
                $$ select api.%s_memory(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', %L) $$,
                verb,
                pg_temp.made_id()
            )
        ) ->> 'constraint',
        'memory_not_found',
        format('there is no deleted memory to %s', verb)
    )
from unnest(array['get', 'delete']) as verb;
reset role;
select is(
    (
        select memories.content
        from app.memories
        where memories.id = pg_temp.made_id() and memories.deleted_at is not null
    ),
    'likes Tea',
    'a deleted memory''s row stays'
);

select * from finish();
rollback;
