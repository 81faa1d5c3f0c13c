begin;
\ir helpers/tests.psql
select plan(7);

set local role cardbase_service;
create temporary table conversation as
select (body -> 'data' ->> 'id')::uuid as id
from api.create_conversation(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a');
create temporary table made as
select answer.body -> 'data' as message
from conversation
cross join api.create_messages(
    tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', conversation.id, role => 'user', content => 'Helo'
) as answer;
create function pg_temp.made_id()
returns uuid
language sql
return (select (message ->> 'id')::uuid from made);

select is(
    (
        select body -> 'data'
        from api.get_message(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', pg_temp.made_id())
    ),
    (select message from made),
    'a message is got as it was answered'
);
select is(
    (
        select (body -> 'data') - 'updated_at'
        from api.update_message(
            tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', pg_temp.made_id(), 'Hello', '{"edited": true}'
        )
    ),
    (select message - 'updated_at' || '{"content": "Hello", "metadata": {"edited": true}}' from made),
    'a message''s text can be changed, not who said it'
);
select is(
    tests.refusal(
        format(
            $$ select api.update_message(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', %L, '') $$,
            pg_temp.made_id()
        )
    ) ->> 'column',
    'content',
    'a message is not emptied'
);
select is(
    (
        select status
        from api.delete_message(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', pg_temp.made_id())
    ),
    204::smallint,
    'a message is deleted'
);
select throws_ok(
    format(
        $$ select api.delete_message(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', %L) $$,
        pg_temp.made_id()
    ),
    'PT404',
    null,
    'a message is deleted once'
);
select is(
    (
        select answer.body -> 'data' ->> 'position'
        from conversation
        cross join api.create_messages(
            tests.tenant('acme'),
            'aaaaaaaa-0000-0000-0000-00000000000a',
            conversation.id,
            role => 'assistant',
            content => 'Hi'
        ) as answer
    ),
    '2',
    'the position of a deleted message is not given again'
);
select is(
    (
        select jsonb_path_query_array(answer.body, '$.data[*].content')
        from conversation
        cross join api.list_messages(
            tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', conversation.id
        ) as answer
    ),
    '["Hi"]'::jsonb,
    'a deleted message is in no list'
);
reset role;

select * from finish();
rollback;
