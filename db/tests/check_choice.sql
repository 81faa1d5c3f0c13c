begin;
\ir helpers/tests.psql
select plan(6);

set local role cardbase_api;
select lives_ok($$ select app.check_choice('size', 'small', array['small', 'large']) $$, 'a choice there is passes');
select throws_ok(
    $$ select app.check_choice('size', 'Small', array['small', 'large']) $$, 'PT422', null, 'letter case counts'
);
select throws_ok(
    $$ select app.check_choice('size', '', array['small', 'large']) $$, 'PT422', null, 'an empty text is no choice'
);
select throws_ok(
    $$ select app.check_choice('size', null, array['small', 'large']) $$, 'PT422', null, 'nothing is no choice'
);
select throws_ok(
    $$ select app.check_choice('size', 'small', array[null, 'large']) $$,
    'PT422',
    null,
    'a null among the choices lets nothing through'
);
select is(
    tests.refusal($$ select app.check_choice('size', 'medium', array['small', 'large']) $$),
    '{
        "code": "PT422",
        "message": "size is not valid",
        "detail": "Expected one of small, large.",
        "hint": "Send one of these values, spelled as here.",
        "column": "size",
        "constraint": "validation_error"
    }'::jsonb,
    'the refusal names the field and its choices'
);

select * from finish();
rollback;
