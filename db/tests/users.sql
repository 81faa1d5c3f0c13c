begin;
\ir helpers/tests.psql
select plan(29);

insert into app.users (tenant_id, user_id, email, display_name, avatar_url, first_name, last_name, deleted_at)
values
(
    tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', 'ann.smith@example.com', 'Annie',
    'https://example.com/ann.png', 'Ann', 'Smith', null
),
(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000b', 'ben@example.com', 'Ben O_Hara', null, null, null, null),
(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000c', 'cora@example.com', null, null, null, 'Smithers', null),
(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000d', 'gone@example.com', 'Smithy', null, null, null, now()),
(
    tests.tenant('globex'),
    'aaaaaaaa-0000-0000-0000-00000000000a',
    'smith@globex.example',
    'Smith',
    null,
    null,
    null,
    null
);

create function pg_temp.found(q text, maximum integer default 10)
returns text[]
language sql
return (
    select array(
        select right(listed.entry ->> 'id', 1)
        from
            api.search_users(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000b', found.q, found.maximum)
                as answer
        cross join jsonb_array_elements(answer.body -> 'data') with ordinality as listed (entry, position)
        order by listed.position
    )
);

-- The profile
set local role cardbase_service;
select is(
    (
        select (body -> 'data') - array['created_at', 'updated_at']
        from api.get_user(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a')
    ),
    '{
        "id": "aaaaaaaa-0000-0000-0000-00000000000a",
        "tenant_id": "aaaaaaaa-0000-0000-0000-000000000000",
        "email": "ann.smith@example.com",
        "display_name": "Annie",
        "avatar_url": "https://example.com/ann.png",
        "first_name": "Ann",
        "last_name": "Smith"
    }'::jsonb,
    'a user sees the whole of the own profile'
);
select is(
    (
        select body -> 'data' ->> 'email'
        from api.get_user(tests.tenant('globex'), 'aaaaaaaa-0000-0000-0000-00000000000a')
    ),
    'smith@globex.example',
    'the same id is another user in another tenant'
);
select is(
    tests.refusal($$ select api.get_user(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000e') $$)
    ->> 'constraint',
    'user_not_found',
    'who signs in elsewhere has no profile'
);
select is(
    (
        select array[body -> 'data' ->> 'display_name', body -> 'data' ->> 'avatar_url', body -> 'data' ->> 'last_name']
        from api.update_user(
            tests.tenant('acme'),
            'aaaaaaaa-0000-0000-0000-00000000000a',
            display_name => 'Anna',
            cleared_fields => array['avatar_url']
        )
    ),
    array['Anna', null, 'Smith'],
    'a profile is changed field by field'
);
select
    is(
        tests.refusal(
            format(
                $$ select api.update_user(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', %s) $$,
                arguments
            )
        ) ->> 'column',
        field,
        arguments || ' is refused'
    )
from (
    values
    ($$display_name => ''$$, 'display_name'),
    ($$first_name => repeat('x', 101)$$, 'first_name'),
    ($$avatar_url => 'javascript:alert(1)'$$, 'avatar_url'),
    ($$avatar_url => E'https://example.com/\n'$$, 'avatar_url'),
    ($$cleared_fields => array['email']$$, 'cleared_fields')
) as refused (arguments, field);

-- Preferences
select is(
    (select body -> 'data' from api.get_preferences(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a')),
    '{"theme": "system", "language": "en", "email_notifications": true, "push_notifications": true}'::jsonb,
    'before they are changed preferences are the defaults'
);
select is(
    (
        select body -> 'data'
        from api.update_preferences(
            tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', 'dark', email_notifications => false
        )
    ),
    '{"theme": "dark", "language": "en", "email_notifications": false, "push_notifications": true}'::jsonb,
    'what is not changed keeps its default'
);
select is(
    (
        select body -> 'data'
        from api.update_preferences(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', language => 'pt-BR')
    ),
    '{"theme": "dark", "language": "pt-BR", "email_notifications": false, "push_notifications": true}'::jsonb,
    'a second change keeps the first'
);
select is(
    (
        select body -> 'data' ->> 'theme'
        from api.get_preferences(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000b')
    ),
    'system',
    'another user''s preferences are that user''s'
);
select
    is(
        tests.refusal(
            format(
                $$ select api.update_preferences(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', %s) $$,
                arguments
            )
        ) ->> 'column',
        field,
        arguments || ' is refused'
    )
from (
    values
    ($$theme => 'pink'$$, 'theme'),
    ($$language => 'english, please'$$, 'language')
) as refused (arguments, field);
reset role;
-- The defaults that are answered are those of the table.
insert into app.user_preferences (tenant_id, user_id)
values (tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000c');
set local role cardbase_service;
select is(
    (select body from api.get_preferences(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000c')),
    (select body from api.get_preferences(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000e')),
    'a user without preferences has those that a new row has'
);

-- Search
select is(pg_temp.found('smith'), array['a', 'c'], 'whoever has a word that begins so is found, and nobody deleted');
select is(pg_temp.found(' SMI '), array['a', 'c'], 'case and blanks around it do not matter');
select is(pg_temp.found('ann.s'), array['a'], 'an email address is found by its beginning');
select is(pg_temp.found('mith'), array['a', 'c'], 'what is similar is found, too');
select is(pg_temp.found('smtih'), array['a', 'c'], 'a slip does not matter');
select is(pg_temp.found('o_h'), array['b'], 'an underscore is an underscore');
select is(pg_temp.found('%'), '{}', 'a percent sign is a percent sign');
select is(pg_temp.found('smith', 1), array['a'], 'as many are found as were asked for');
select is(
    (
        select body
        from api.search_users(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000b', 'anna')
    ),
    '{
        "success": true,
        "data": [{"id": "aaaaaaaa-0000-0000-0000-00000000000a", "display_name": "Anna", "avatar_url": null}],
        "meta": null
    }'::jsonb,
    'of another user nothing private is shown'
);
select
    is(
        tests.refusal(
            format(
                $$ select api.search_users(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000b', %s) $$,
                arguments
            )
        ) ->> 'column',
        field,
        arguments || ' is refused'
    )
from (
    values
    ('null', 'q'),
    ($$'  '$$, 'q'),
    ($$'x', 51$$, 'limit')
) as refused (arguments, field);
set local role cardbase_api;
select tests.set_tenant(tests.tenant('globex'));
select is(app.find_users(tests.tenant('acme'), 'smith', 10), '[]'::jsonb, 'of another tenant nobody is found');
reset role;

select * from finish();
rollback;
