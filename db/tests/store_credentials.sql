begin;
\ir helpers/tests.psql
select plan(8);

set local role cardbase_api;
select ok(
    app.store_credentials('ann@example.com', '$argon2id$ann', tests.tenant('acme'), tests.person('ann')),
    'credentials of a new address are stored'
);
select ok(
    not app.store_credentials('ann@example.com', '$argon2id$eve', tests.tenant('globex'), tests.person('eve')),
    'those of an address that somebody has are not, in any tenant'
);
select is(
    app.find_credentials('ann@example.com'),
    jsonb_build_object(
        'tenant_id', tests.tenant('acme'), 'user_id', tests.person('ann'), 'password_hash', '$argon2id$ann'
    ),
    'whoever was first keeps the address, the password and the tenant'
);
select is(app.find_credentials('nobody@example.com'), null, 'nobody is found by another address');
select is(app.find_credentials('Ann@example.com'), null, 'an address is found in lower case only');
select throws_ok(
    $$ select app.store_credentials('Ben@example.com', '$argon2id$', tests.tenant('acme'), tests.person('ben')) $$,
    '23514',
    null,
    'an address that is not in lower case is refused'
);
select throws_ok(
    $$ select app.store_credentials('ben@example.com', 'secret', tests.tenant('acme'), tests.person('ben')) $$,
    '23514',
    null,
    'so is a password that was not hashed'
);
select throws_ok('select from app.credentials', '42501', null, 'the functions'' own role can''t read the table');

select * from finish();
rollback;
