begin;
\ir helpers/tests.psql
select plan(18);

set local role cardbase_api;
select lives_ok(format('select app.check_messages(%L, %L)', passed.messages, 'messages'), passed.rule)
from (
    values
    ('[{"role": "user", "content": "hi"}]', 'a role and a content suffice'),
    ('[{"role": "tool", "content": "hi", "metadata": {}}]', 'metadata may be an object'),
    ('[{"role": "tool", "content": "hi", "metadata": null}]', 'metadata may be null'),
    ('[{"role": "user", "content": "hi", "more": 1}]', 'fields that are not known don''t matter')
) as passed (messages, rule);

select
    is(
        tests.refusal(format('select app.check_messages(%L, %L)', refused.messages, 'messages')) - 'hint',
        jsonb_build_object(
            'code', 'PT422',
            'message', 'the messages are not valid',
            'detail', refused.detail,
            'column', refused.field,
            'constraint', 'validation_error'
        ),
        format('refused: %s', refused.messages)
    )
from (
    values
    ('{}', 'messages', 'Expected an array of messages.'),
    ('[]', 'messages', 'Expected 1 to 1,000 messages, got 0.'),
    ('[1]', 'messages[0]', 'Expected an object.'),
    ('[{"content": "hi"}]', 'messages[0].role', 'Expected one of user, assistant, system, tool.'),
    ('[{"role": "nobody", "content": "hi"}]', 'messages[0].role', 'Expected one of user, assistant, system, tool.'),
    ('[{"role": 1, "content": "hi"}]', 'messages[0].role', 'Expected one of user, assistant, system, tool.'),
    ('[{"role": "user", "content": ""}]', 'messages[0].content', 'Expected 1 to 100,000 characters.'),
    ('[{"role": "user", "content": 1}]', 'messages[0].content', 'Expected 1 to 100,000 characters.'),
    ('[{"role": "user", "content": "hi", "metadata": []}]', 'messages[0].metadata', 'Expected an object.'),
    (
        '[{"role": "user", "content": "hi"}, {"role": "user"}]',
        'messages[1].content',
        'Expected 1 to 100,000 characters.'
    ),
    ('[{"role": 1}]', 'messages[0].content', 'Expected 1 to 100,000 characters.')
) as refused (messages, field, detail);

select is(
    tests.refusal($$ select app.check_messages(null, 'messages') $$) ->> 'detail',
    'Expected an array of messages.',
    'no messages at all are refused'
);
select is(
    tests.refusal($$ select app.check_messages('[{"role": "user"}]', '') $$) ->> 'column',
    'content',
    'the field of a single message is the call''s own'
);
select is(
    tests.refusal(
        format(
            'select app.check_messages(%L, %L)',
            jsonb_build_array(jsonb_build_object('role', 'user', 'content', repeat('x', 100001))),
            'messages'
        )
    ) ->> 'column',
    'messages[0].content',
    'a content that is too long is refused'
);

select * from finish();
rollback;
