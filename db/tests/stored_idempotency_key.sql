begin;
\ir helpers/tests.psql
select plan(5);

set local role cardbase_api;
select is(app.stored_idempotency_key(null, 'key'), 'key', 'a tenant''s key is stored as it is');
select is(app.stored_idempotency_key(null, '"key"'), 'key', 'and without double quotes');
select is(
    app.stored_idempotency_key('aaaaaaaa-0000-0000-0000-00000000000a', 'key'),
    '2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683',
    'a user''s key is stored as its SHA-256, as it always was'
);
select is(
    app.stored_idempotency_key('aaaaaaaa-0000-0000-0000-00000000000a', '"key"'),
    app.stored_idempotency_key('aaaaaaaa-0000-0000-0000-00000000000a', 'key'),
    'a user''s key in double quotes is the same as without'
);
select is(app.stored_idempotency_key('aaaaaaaa-0000-0000-0000-00000000000a', null), null, 'no key is no key');

select * from finish();
rollback;
