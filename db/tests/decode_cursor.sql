begin;
\ir helpers/tests.psql
select plan(14);

set local role cardbase_api;
select is_empty(
    $$
    select id
    from generate_series(1, 500) as n
    cross join lateral gen_random_uuid() as id
    where app.decode_cursor(sha256('list'), app.encode_cursor(sha256('list'), id)) is distinct from id
    $$,
    'a cursor gives back the key it was made of'
);
select is(
    app.decode_cursor('\x00', null),
    'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid,
    'without a cursor a list begins above every key'
);

-- What is no cursor
select throws_ok($$ select app.decode_cursor('\x00', '') $$, 'PT422', null, 'an empty text is no cursor');
select throws_ok(
    $$ select app.decode_cursor('\x00', 'aaaaaaaa-0000-7000-8000-000000000001') $$, 'PT422', null, 'a key is no cursor'
);
select throws_ok(
    $$ select app.decode_cursor('\x00', repeat('A', 32)) $$, 'PT422', null, 'the right length alone is no cursor'
);
select throws_ok($$ select app.decode_cursor('\x00', repeat('=', 32)) $$, 'PT422', null, 'padding is no cursor');
select throws_ok(
    $$ select app.decode_cursor('\x00', repeat('é', 32)) $$, 'PT422', null, 'letters of other alphabets are no cursor'
);
select throws_ok(
    $$ select app.decode_cursor('\x00', repeat('A', 100000)) $$, 'PT422', null, 'a very long text is no cursor'
);
select throws_ok(
    $$ select app.decode_cursor('\x00', app.encode_cursor('\x00', gen_random_uuid()) || ' ') $$,
    'PT422',
    null,
    'a blank behind a cursor is not passed over'
);
select throws_ok(
    $$ select app.decode_cursor('\x00', app.encode_cursor('\x00', gen_random_uuid()) || chr(10)) $$,
    'PT422',
    null,
    'a new line behind a cursor is not passed over'
);
select throws_ok(
    $$ select app.decode_cursor('\x00', lower(app.encode_cursor('\x00', 'aaaaaaaa-0000-7000-8000-000000000001'))) $$,
    'PT422',
    null,
    'a cursor in other letter case is none'
);
select throws_ok(
    $$
    select app.decode_cursor('\x00', translate(app.encode_cursor('\x00', 'aaaaaaaa-0000-7000-8000-000000000001'), 'q', 'r'))
    $$,
    'PT422',
    null,
    'a cursor that was tampered with is refused'
);
select throws_ok(
    $$ select app.decode_cursor('\x01', app.encode_cursor('\x00', gen_random_uuid())) $$,
    'PT422',
    null,
    'the cursor of another list is refused'
);
select is(
    tests.refusal($$ select app.decode_cursor('\x00', 'abc') $$),
    '{
        "code": "PT422",
        "message": "cursor is not valid",
        "detail": "Expected the next_cursor of the page before, of the same list with the same filters.",
        "hint": "Send next_cursor as it was returned, or no cursor to begin at the start.",
        "column": "cursor",
        "constraint": "validation_error"
    }'::jsonb,
    'the refusal says where a cursor comes from'
);

select * from finish();
rollback;
