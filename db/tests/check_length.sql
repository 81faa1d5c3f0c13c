begin;
\ir helpers/tests.psql
select plan(7);

set local role cardbase_api;
select lives_ok($$ select app.check_length('created_by', 'abc', 3) $$, 'a text of the greatest length passes');
select lives_ok($$ select app.check_length('created_by', '', 3) $$, 'an empty text is not too long');
select lives_ok($$ select app.check_length('created_by', null, 3) $$, 'null is not too long');
select lives_ok($$ select app.check_length('created_by', '😀😀😀', 3) $$, 'characters are counted, not bytes');
select throws_ok(
    $$ select app.check_length('created_by', 'abcd', 3) $$,
    'PT422',
    null,
    'a text of one character more is refused'
);
select throws_ok(
    $$ select app.check_length('created_by', '   ' || ' ', 3) $$,
    'PT422',
    null,
    'blanks at the end count'
);
select is(
    tests.refusal($$ select app.check_length('created_by', 'abcd', 3) $$),
    '{
        "code": "PT422",
        "message": "created_by is too long",
        "detail": "Expected at most 3 characters, got 4.",
        "hint": "Shorten the value. Nothing was stored.",
        "column": "created_by",
        "constraint": "validation_error"
    }'::jsonb,
    'the refusal names the field, the bound and the length'
);

select * from finish();
rollback;
