begin;
\ir helpers/tests.psql
select plan(9);

set local role cardbase_api;
select lives_ok(
    $$ select app.check_ids('card_ids', array['aaaaaaaa-0000-0000-0000-000000000001']::uuid []) $$,
    'one id passes'
);
select lives_ok(
    $$ select app.check_ids('card_ids', array_fill('aaaaaaaa-0000-0000-0000-000000000001'::uuid, array[1000])) $$,
    '1,000 ids pass, equal ones too'
);
select throws_ok($$ select app.check_ids('card_ids', '{}') $$, 'PT422', null, 'an empty list is refused');
select throws_ok($$ select app.check_ids('card_ids', null) $$, 'PT422', null, 'no list at all is refused');
select throws_ok(
    $$ select app.check_ids('card_ids', array_fill('aaaaaaaa-0000-0000-0000-000000000001'::uuid, array[1001])) $$,
    'PT422',
    null,
    '1,001 ids are refused'
);
select throws_ok(
    $$ select app.check_ids('card_ids', array['aaaaaaaa-0000-0000-0000-000000000001', null]::uuid []) $$,
    'PT422',
    null,
    'a null among the ids is refused'
);
select throws_ok(
    $$ select app.check_ids('card_ids', array_fill('aaaaaaaa-0000-0000-0000-000000000001'::uuid, array[2, 2])) $$,
    'PT422',
    null,
    'a list of lists is refused'
);
select is(
    tests.refusal(
        $$ select app.check_ids('card_ids', array_fill('aaaaaaaa-0000-0000-0000-000000000001'::uuid, array[1001])) $$
    ),
    '{
        "code": "PT422",
        "message": "card_ids is not valid",
        "detail": "Expected a list of 1 to 1,000 UUIDs, none of them null, got 1001.",
        "hint": "Request at most 1,000 at a time.",
        "column": "card_ids",
        "constraint": "validation_error"
    }'::jsonb,
    'the refusal names the field, the bounds and how many there were'
);
select alike(
    tests.refusal($$ select app.check_ids('card_ids', null) $$) ->> 'detail',
    '% got 0.',
    'of no list the refusal says that it holds none'
);

select * from finish();
rollback;
