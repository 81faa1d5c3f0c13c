begin;
\ir helpers/tests.psql
select plan(20);

set local role cardbase_api;
select lives_ok($$ select app.check_json('content', null) $$, 'nothing passes');
select lives_ok($$ select app.check_json('content', '{"a": [1, -2.5e3, "3", null, true]}') $$, 'short JSON passes');
select lives_ok(
    $$ select app.check_json('content', jsonb_build_object('a', repeat('words ', 100000))) $$, 'a long text passes'
);
select lives_ok(
    $$ select app.check_json('content', jsonb_agg(n * 1.5)) from generate_series(1, 20000) as n $$, 'many numbers pass'
);
select is(
    tests.refusal($$ select app.check_json('content', '{"a": 1e131071}') $$),
    '{
        "code": "PT422",
        "message": "content.a is too long",
        "detail": "Expected a number of at most 1,000 digits on both sides of the point together.",
        "hint": "Round it, or send it as a string. Nothing was stored.",
        "column": "content.a",
        "constraint": "validation_error"
    }'::jsonb,
    'the refusal of a number names its place'
);
select
    is(
        tests.refusal(format('select app.check_json(%L, %L)', sent.field, sent.value)) ->> 'column',
        sent.place,
        'the place is ' || sent.place
    )
from (
    values
    ('content', '1e1000', 'content'),
    ('', '{"metadata": {"a": 1e1000}}', 'metadata.a'),
    ('cards', '[{"a": 1}, {"content": {"b": [0, 0, {"c": -1e-1000}]}}]', 'cards[1].content.b[2].c'),
    ('deep', '[[[[[[[0e-1000]]]]]]]', 'deep[0][0][0][0][0]')
) as sent (field, value, place);

-- How much a small value can grow

select lives_ok(
    format('select app.check_json(%L, %L, 10000)', 'content', format('[%s]', repeat('1e990,', 9) || '1')),
    'numbers of 9,000 digits are not longer than 10,000 bytes'
);
select is(
    tests.refusal(
        format('select app.check_json(%L, %L, 10000)', 'content', format('[%s]', repeat('1e990,', 11) || '1'))
    ),
    '{
        "code": "PT413",
        "message": "content is too large",
        "detail": "Expected at most 10,000 bytes of JSON text, with its numbers written out.",
        "hint": "Divide it. Nothing was stored.",
        "column": "content",
        "constraint": "payload_too_large"
    }'::jsonb,
    'the refusal of what grows names the field and the length'
);
select lives_ok(
    $$ select app.check_json('content', jsonb_build_object('a', repeat('x', 7999991))) $$, '8,000,000 bytes pass'
);
select is(
    tests.refusal($$ select app.check_json('content', jsonb_build_object('a', repeat('x', 7999992))) $$) ->> 'detail',
    'Expected at most 8,000,000 bytes of JSON text, with its numbers written out.',
    'one byte more does not pass'
);
select is(
    tests.refusal($$ select app.check_json('content', jsonb_build_object('a', repeat(e'\x01', 1400000))) $$) ->> 'code',
    'PT413',
    'the text counts as it is written, with its escapes'
);
select is(
    tests.refusal(
        $$ select app.check_json('', jsonb_build_object('a', repeat('x', 2000)), 50) $$
    ) ->> 'message',
    'is too large',
    'a value without a name is refused, too'
);

-- A value as a table stores it

reset role;
create temporary table stored (content jsonb);
insert into stored values (jsonb_build_object('a', repeat('x', 8000000))),
(jsonb_build_object('a', repeat('y', 100000)));
grant select on stored to cardbase_api;
set local role cardbase_api;
select results_eq(
    'select pg_column_size(content) < 95000 from stored',
    'values (true), (true)',
    'a compressed value hides its size'
);
select is(
    tests.refusal($$ select app.check_json('content', content) from stored where content ->> 'a' like 'x%' $$)
    ->> 'code',
    'PT413',
    'it is refused for the length it has'
);
select lives_ok(
    $$ select app.check_json('content', content) from stored where content ->> 'a' like 'y%' $$,
    'it passes where it is short'
);

-- Every function that takes JSON, whoever adds it

reset role;
create temporary table json_parameter as
select
    pg_proc.oid as function_id,
    pg_proc.proname || '.' || parameter.name as name,
    format(
        'select api.%I(%s)',
        pg_proc.proname,
        string_agg(
            format(
                '%I => %L::%s',
                other.name,
                case
                    when other.name = parameter.name then '{"n": 1e1000}'
                    when other.type_id = 'uuid'::regtype then 'aaaaaaaa-0000-0000-0000-000000000000'
                    when other.type_id = 'jsonb'::regtype then '[]'
                    else '1'
                end,
                other.type_id::regtype
            ),
            ', '
        ) filter (
            where other.name = parameter.name or other.position <= pg_proc.pronargs - pg_proc.pronargdefaults
        )
    ) as call
from pg_proc
cross join unnest(pg_proc.proargnames, pg_proc.proargtypes::oid[]) as parameter (name, type_id)
cross join unnest(pg_proc.proargnames, pg_proc.proargtypes::oid[]) with ordinality as other (name, type_id, position)
where pg_proc.pronamespace = 'api'::regnamespace and parameter.type_id = 'jsonb'::regtype
group by pg_proc.oid, parameter.name;
grant select on json_parameter to public;

set local role cardbase_service;
select is_empty(
    $$
    select
        name,
        refused.refusal
    from json_parameter
    cross join lateral (select tests.refusal(json_parameter.call)) as refused (refusal)
    where
        (
            refused.refusal @> '{"code": "PT422", "constraint": "validation_error"}'
            and (refused.refusal ->> 'column') in (split_part(name, '.', 2) || '.n', 'n', '1.n')
        ) is not true
        -- What a function has returned comes from no caller.
        and name <> 'remember_request.body'
    $$,
    'every function of schema api refuses a long number in JSON, and names its place'
);
select cmp_ok((select count(*) from json_parameter), '>=', 16::bigint, 'these are all of them');

select * from finish();
rollback;
