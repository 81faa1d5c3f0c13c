begin;
\ir helpers/tests.psql
select plan(7);

select isnt(
    app.user_idempotency_key('aaaaaaaa-0000-0000-0000-00000000000a', 'key'),
    app.user_idempotency_key('aaaaaaaa-0000-0000-0000-00000000000b', 'key'),
    'two users'' equal keys are kept apart'
);
select is(
    app.user_idempotency_key('aaaaaaaa-0000-0000-0000-00000000000a', '"key"'),
    app.user_idempotency_key('aaaaaaaa-0000-0000-0000-00000000000a', 'key'),
    'a key in double quotes is the same as without'
);
select cmp_ok(
    length(app.user_idempotency_key('aaaaaaaa-0000-0000-0000-00000000000a', repeat('ä', 255))),
    '<=',
    255,
    'the longest key still fits'
);
select is(app.user_idempotency_key('aaaaaaaa-0000-0000-0000-00000000000a', null), null, 'no key is no key');
select is(
    app.user_idempotency_key('aaaaaaaa-0000-0000-0000-00000000000a', ''), '', 'an empty key stays so, to be refused'
);
select is(
    app.user_idempotency_key('aaaaaaaa-0000-0000-0000-00000000000a', repeat('x', 256)),
    repeat('x', 256),
    'a key that is too long stays so, to be refused'
);

select is(app.user_idempotency_key(null, '"key"'), '"key"', 'a key of no user stays as it is');

select * from finish();
rollback;
