begin;
\ir helpers/tests.psql
select plan(39);

create function pg_temp.send(conversation_id uuid, messages jsonb, idempotency_key text default null)
returns api.reply
language sql
return api.create_messages(
    tests.tenant('acme'),
    'aaaaaaaa-0000-0000-0000-00000000000a',
    send.conversation_id,
    send.messages,
    idempotency_key => send.idempotency_key
);

set local role cardbase_service;
create temporary table made as
select answer.*
from
    api.create_conversation(
        tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', 'Trip', '{"n": 1}'
    ) as answer;
create function pg_temp.made_id()
returns uuid
language sql
return (select (body -> 'data' ->> 'id')::uuid from made);

-- Conversations
select is(
    (select (body -> 'data') - array['id', 'created_at', 'updated_at'] from made),
    '{"title": "Trip", "metadata": {"n": 1}, "message_count": 0, "last_message_at": null}'::jsonb,
    'a new conversation has no messages'
);
select is(
    (
        select (body -> 'data') - array['id', 'created_at', 'updated_at']
        from api.create_conversation(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a')
    ),
    '{"title": null, "metadata": {}, "message_count": 0, "last_message_at": null}'::jsonb,
    'a conversation needs no title'
);
select is(
    (
        select (body -> 'data') ->> 'title'
        from api.update_conversation(
            tests.tenant('acme'),
            'aaaaaaaa-0000-0000-0000-00000000000a',
            pg_temp.made_id(),
            cleared_fields => array['title']
        )
    ),
    null,
    'a title can be taken away'
);
select is(
    (
        select (body -> 'data') ->> 'title'
        from api.update_conversation(
            tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', pg_temp.made_id(), 'Trip to Rome'
        )
    ),
    'Trip to Rome',
    'a title can be given'
);
select is(
    (
        select body -> 'meta' ->> 'total'
        from api.list_conversations(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', q => 'rome')
    ),
    '1',
    'conversations are found by their title'
);
select is(
    (
        select body -> 'meta' ->> 'total'
        from api.list_conversations(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a')
    ),
    '2',
    'without a text all conversations are listed, those without a title, too'
);
select
    is(
        tests.refusal(
            format(
                'select api.create_conversation(%L, ''aaaaaaaa-0000-0000-0000-00000000000a'', %s)',
                tests.tenant('acme'),
                arguments
            )
        ) ->> 'column',
        field,
        arguments || ' is refused'
    )
from (
    values
    ($$''$$, 'title'),
    ($$repeat('x', 501)$$, 'title'),
    ($$null, '1'$$, 'metadata')
) as refused (arguments, field);

-- A single message
select is(
    (
        select answer.body #- '{data,id}' #- '{data,created_at}' #- '{data,updated_at}'
        from api.create_messages(
            tests.tenant('acme'),
            'aaaaaaaa-0000-0000-0000-00000000000a',
            pg_temp.made_id(),
            role => 'user',
            content => 'Hello'
        ) as answer
    ),
    jsonb_build_object(
        'success', true,
        'meta', null,
        'data', jsonb_build_object(
            'conversation_id', pg_temp.made_id(),
            'position', 1,
            'role', 'user',
            'content', 'Hello',
            'metadata', '{}'::jsonb
        )
    ),
    'a single message is answered as one'
);

-- Several
select results_eq(
    $$
    select
        message ->> 'position',
        message ->> 'role',
        message ->> 'content',
        message -> 'metadata'
    from pg_temp.send(
        pg_temp.made_id(),
        '[
            {"role": "assistant", "content": "Hi", "metadata": null},
            {"role": "tool", "content": "{}", "metadata": {"deep": [null]}},
            {"role": "user", "content": "Hi"}
        ]'
    ) as answer
    cross join jsonb_array_elements(answer.body -> 'data') as message
    $$,
    $$
    values
    ('2', 'assistant', 'Hi', '{}'::jsonb),
    ('3', 'tool', '{}', '{"deep": [null]}'),
    ('4', 'user', 'Hi', '{}')
    $$,
    'several messages follow those before, in the order sent'
);
select is(
    (
        select jsonb_array_length(answer.body -> 'data')
        from pg_temp.send(
            pg_temp.made_id(),
            (
                select jsonb_agg(jsonb_build_object('role', 'user', 'content', n::text))
                from generate_series(1, 1000) as n
            )
        ) as answer
    ),
    1000,
    'a thousand messages are taken at a time'
);
select is(
    (
        select jsonb_path_query_array(body, '$.data[*].content')
        from api.list_messages(
            tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', pg_temp.made_id(), page => 2, per_page => 3
        )
    ),
    '["Hi", "1", "2"]'::jsonb,
    'messages are listed in the order they were said'
);
select is(
    (
        select
            jsonb_build_object(
                'data', jsonb_path_query_array(answer.body, '$.data[*].content'), 'meta', answer.body -> 'meta'
            )
        from api.list_messages(
            tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', pg_temp.made_id(), 1, 2, 'user', 'desc'
        ) as answer
    ),
    '{"data": ["1000", "999"], "meta": {"page": 1, "per_page": 2, "total": 1002, "total_pages": 501}}'::jsonb,
    'messages of one role are listed from the last, on request'
);
select is(
    (
        select (body -> 'data' ->> 'message_count')::integer
        from api.get_conversation(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', pg_temp.made_id())
    ),
    1004,
    'a conversation counts its messages'
);
select throws_ok(
    format(
        $$
        select api.list_messages(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', %L, "order" => 'up')
        $$,
        pg_temp.made_id()
    ),
    'PT422',
    null,
    'there are two orders'
);

-- Refusals: all of the messages or none
select
    is(
        tests.refusal(format('select pg_temp.send(pg_temp.made_id(), %L)', messages)) ->> 'column',
        field,
        left(messages, 60) || ' is refused'
    )
from (
    values
    ('{}', 'messages'),
    ('[]', 'messages'),
    ('["text"]', 'messages[0]'),
    ('[{"role": "user", "content": "x"}, {"content": "x"}]', 'messages[1].role'),
    ('[{"role": "robot", "content": "x"}]', 'messages[0].role'),
    ('[{"role": "user"}]', 'messages[0].content'),
    ('[{"role": "user", "content": ""}]', 'messages[0].content'),
    ('[{"role": "user", "content": 1}]', 'messages[0].content'),
    ('[{"role": "user", "content": "x", "metadata": []}]', 'messages[0].metadata'),
    ((select jsonb_agg('{"role": "user", "content": "x"}'::jsonb)::text from generate_series(1, 1001)), 'messages')
) as refused (messages, field);
select
    is(
        tests.refusal(
            format(
                'select api.create_messages(%L, ''aaaaaaaa-0000-0000-0000-00000000000a'', pg_temp.made_id(), %s)',
                tests.tenant('acme'),
                arguments
            )
        ) ->> 'column',
        field,
        arguments || ' is refused'
    )
from (
    values
    ('null', 'content'),
    ($$role => 'user'$$, 'content'),
    ($$content => 'x'$$, 'role'),
    ($$'[{"role": "user", "content": "x"}]', content => 'x'$$, 'messages')
) as refused (arguments, field);
reset role;
select is(
    (select count(*) from app.messages where messages.tenant_id = tests.tenant('acme')),
    1004::bigint,
    'nothing of a refused call is stored'
);
set local role cardbase_service;

-- Idempotency
create temporary table kept as
select answer.*
from pg_temp.send(pg_temp.made_id(), '[{"role": "user", "content": "once"}]', 'key') as answer;
select is(
    (select headers from kept), '{"X-Idempotency-Cache": "MISS"}'::jsonb, 'the first request with a key does the work'
);
select results_eq(
    $$
    select headers, body
    from pg_temp.send(pg_temp.made_id(), '[{"content": "once", "role": "user"}]', '"key"')
    $$,
    $$ select '{"X-Idempotency-Cache": "HIT"}'::jsonb, kept.body from kept $$,
    'the same request again answers the same'
);
select is(
    tests.refusal(
        $$ select pg_temp.send(pg_temp.made_id(), '[{"role": "user", "content": "twice"}]', 'key') $$
    ) ->> 'constraint',
    'idempotency_key_reused',
    'the key is not for another request'
);
select is(
    tests.refusal(
        format(
            $$
            select api.create_messages(
                tests.tenant('acme'),
                'aaaaaaaa-0000-0000-0000-00000000000b',
                %L,
                '[{"role": "user", "content": "once"}]',
                idempotency_key => 'key'
            )
            $$,
            pg_temp.made_id()
        )
    ) ->> 'constraint',
    'conversation_not_found',
    'another user''s equal key is another key'
);

-- Deletion
create temporary table message as
select (body -> 'data' -> 0 ->> 'id')::uuid as id
from kept;
select is(
    (
        select status
        from api.delete_conversation(
            tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', pg_temp.made_id()
        )
    ),
    204::smallint,
    'a conversation is deleted'
);
select
    is(
        tests.refusal(
            format(
                $$ select api.get_message(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', %L) $$,
                message.id
            )
        ) ->> 'constraint',
        'message_not_found',
        'the messages of a deleted conversation are not found'
    )
from message;
select is(
    tests.refusal($$ select pg_temp.send(pg_temp.made_id(), '[{"role": "user", "content": "late"}]') $$)
    ->> 'constraint',
    'conversation_not_found',
    'a deleted conversation takes no messages'
);
reset role;
select is(
    (select count(*) from app.messages where messages.deleted_at is not null),
    1005::bigint,
    'the rows of the messages stay'
);

select * from finish();
rollback;
