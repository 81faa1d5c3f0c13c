begin;
\ir helpers/tests.psql
select plan(12);

set local role cardbase_gateway;
select is(
    api.claim_request('aaaaaaaa-0000-0000-0000-000000000000', null, 'k', 'f', '[1]'),
    row(null, null, null, null)::api.reply,
    'a key that nobody used answers nothing: the caller does the work'
);
select is(
    current_setting('app.current_tenant_id'),
    'aaaaaaaa-0000-0000-0000-000000000000',
    'the tenant is applied to the transaction, for the function that does the work'
);
select is(
    (
        api.remember_request('aaaaaaaa-0000-0000-0000-000000000000', null, 'k', 'f', '[1]', 24, 2, 5, '[7, 8]')
    ),
    row(200, '{"row_count": 2, "total_count": 5, "X-Idempotency-Cache": "MISS"}', '[7, 8]', null)::api.reply,
    'what was answered is kept, and said to be new'
);
select is(
    api.claim_request('aaaaaaaa-0000-0000-0000-000000000000', null, '"k"', 'f', '[1]'),
    row(200, '{"row_count": 2, "total_count": 5, "X-Idempotency-Cache": "HIT"}', '[7, 8]', null)::api.reply,
    'the same request again answers what was kept'
);
select is(
    tests.refusal($$ select api.claim_request('aaaaaaaa-0000-0000-0000-000000000000', null, 'k', 'f', '[2]') $$)
    ->> 'constraint',
    'idempotency_key_reused',
    'the key is refused for other arguments'
);
select is(
    tests.refusal($$ select api.claim_request('aaaaaaaa-0000-0000-0000-000000000000', null, 'k', 'g', '[1]') $$)
    ->> 'constraint',
    'idempotency_key_reused',
    'the key is refused for another function'
);
select is(
    api.claim_request('bbbbbbbb-0000-0000-0000-000000000000', null, 'k', 'f', '[1]'),
    row(null, null, null, null)::api.reply,
    'another tenant''s key is not met'
);
select is(
    tests.refusal($$ select api.claim_request('aaaaaaaa-0000-0000-0000-000000000000', null, '', 'f', '[1]') $$)
    ->> 'column',
    'Idempotency-Key',
    'an empty key is refused, by the name of its header'
);
select is(
    api.claim_request(
        'aaaaaaaa-0000-0000-0000-000000000000', 'cccccccc-0000-0000-0000-000000000000', 'k', 'f', '[2]'
    ),
    row(null, null, null, null)::api.reply,
    'a user''s key is another one than the tenant''s'
);
select is(
    tests.refusal(
        $$
        select api.claim_request(
            'aaaaaaaa-0000-0000-0000-000000000000', 'cccccccc-0000-0000-0000-000000000000', '', 'f', '[2]'
        )
        $$
    ) ->> 'constraint',
    'validation_error',
    'a user''s empty key is refused'
);

reset role;
select is(
    (
        select stored.fingerprint
        from app.idempotency_store as stored
        where stored.tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000' and stored.idempotency_key = 'k'
    ),
    app.request_fingerprint('f', '[1]'),
    'what makes two requests the same is the function''s name and what it was asked'
);
select is(
    (
        select stored.expires_at - stored.created_at
        from app.idempotency_store as stored
        where stored.tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000' and stored.idempotency_key = 'k'
    ),
    interval '24 hours',
    'it is kept for as long as was asked'
);

select * from finish();
rollback;
