begin;
\ir helpers/tests.psql
select plan(6);

set local role cardbase_api;
select lives_ok($$ select app.check_range('limit', 1, 1, 3) $$, 'the least number passes');
select lives_ok($$ select app.check_range('limit', 3, 1, 3) $$, 'the greatest number passes');
select throws_ok($$ select app.check_range('limit', 0, 1, 3) $$, 'PT422', null, 'one less than the least is refused');
select throws_ok($$ select app.check_range('limit', -1, 1, 3) $$, 'PT422', null, 'a negative number is refused');
select throws_ok($$ select app.check_range('limit', null, 1, 3) $$, 'PT422', null, 'nothing is out of every range');
select is(
    tests.refusal($$ select app.check_range('limit', 4, 1, 3) $$),
    '{
        "code": "PT422",
        "message": "limit is out of range",
        "detail": "Expected 1 to 3, got 4.",
        "hint": "Send a whole number within the range.",
        "column": "limit",
        "constraint": "validation_error"
    }'::jsonb,
    'the refusal names the field, the bounds and the number'
);

select * from finish();
rollback;
