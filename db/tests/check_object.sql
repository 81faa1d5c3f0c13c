begin;
\ir helpers/tests.psql
select plan(6);

set local role cardbase_api;
select lives_ok($$ select app.check_object('content', '{"a": 1}') $$, 'an object passes');
select lives_ok($$ select app.check_object('content', '{}') $$, 'an empty object passes');
select throws_ok($$ select app.check_object('content', '"{}"') $$, 'PT422', null, 'a string is refused');
select throws_ok($$ select app.check_object('content', 'null') $$, 'PT422', null, 'the null of JSON is refused');
select throws_ok($$ select app.check_object('content', null) $$, 'PT422', null, 'nothing is refused');
select is(
    tests.refusal($$ select app.check_object('content', '[]') $$),
    '{
        "code": "PT422",
        "message": "content is not valid",
        "detail": "Expected an object, got array.",
        "hint": "Send a JSON object, {…}.",
        "column": "content",
        "constraint": "validation_error"
    }'::jsonb,
    'the refusal names the field and what it got'
);

select * from finish();
rollback;
