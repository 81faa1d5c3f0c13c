begin;
\ir helpers/tests.psql
select plan(31);

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

-- The job that computes the embedding comes with the write; without pgvector there is none.
create function pg_temp.embedded()
returns text
language sql
return (
    select string_agg(concat_ws(' ', job.queue, job.status, job.user_id = tests.person('ben'), memory.content), ', ')
    from app.jobs as job
    inner join app.memories as memory on memory.id = (job.arguments ->> 'memory_id')::uuid
    where job.kind = 'embed_memory'
);
create function pg_temp.expected(jobs text)
returns text
language sql
return case when to_regclass('app.memory_embeddings') is not null then expected.jobs end;
create function pg_temp.remembered(content text)
returns uuid
language sql
return (
    select (answer.body -> 'data' ->> 'id')::uuid
    from api.create_memory(tests.tenant('acme'), tests.person('ben'), remembered.content) as answer
);
create function pg_temp.update_memory(content text, memory_type text)
returns smallint
language sql
return (
    select answer.status
    from app.memories as memory
    cross join
        lateral
        api.update_memory(
            memory.tenant_id, memory.user_id, memory.id, update_memory.content, update_memory.memory_type
        ) as answer
    where memory.user_id = tests.person('ben') and memory.content like 'embedded%'
);
delete from deployment.settings;
select pg_temp.remembered('plain') is not null as is_stored;
select is(pg_temp.embedded(), null, 'where no deploy has configured it, none is enqueued');
insert into deployment.settings (name, value) values ('embed_memories', 'true'), ('tenant_pending_jobs', '1');
select pg_temp.remembered('embedded') is not null as is_stored;
select is(pg_temp.embedded(), pg_temp.expected('low pending t embedded'), 'a new memory brings its job along');
select is(pg_temp.update_memory(null, 'other'), 200::smallint, 'an update of something else')
union all
select is(pg_temp.embedded(), pg_temp.expected('low pending t embedded'), 'brings none');
select
    is(
        pg_temp.update_memory('embedded again', null),
        200::smallint,
        'new content is stored, however many jobs are pending'
    )
union all
select is(
    pg_temp.embedded(),
    pg_temp.expected('low pending t embedded again, low pending t embedded again'),
    'and brings its job along'
);

select * from finish();
rollback;
