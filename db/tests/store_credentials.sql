begin;
\ir helpers/tests.psql
select plan(11);

set local role cardbase_api;
select ok(
    app.store_credentials('ann@example.com', '$argon2id$salt$ann', tests.tenant('acme'), tests.person('ann')),
    'credentials of a new address are stored'
);
select ok(
    not app.store_credentials('ann@example.com', '$argon2id$salt$eve', tests.tenant('globex'), tests.person('eve')),
    'those of an address that somebody has are not, in any tenant'
);
select is(
    app.check_password('Ann@example.com', '192.0.2.1', '$argon2id$salt$ann'),
    jsonb_build_object('tenant_id', tests.tenant('acme'), 'user_id', tests.person('ann'), 'is_right', true),
    'whoever was first keeps the address, the password and the tenant'
);
select is(
    app.check_password('ann@example.com', '192.0.2.1', '$argon2id$salt$eve') -> 'is_right',
    'false'::jsonb,
    'another hash is wrong'
);
select is(
    app.check_password('ann@example.com', '192.0.2.1', null) -> 'is_right', 'false'::jsonb, 'and so is none'
);
select is(
    app.check_password('nobody@example.com', '192.0.2.1', '$argon2id$salt$ann'),
    '{"tenant_id": null, "user_id": null, "is_right": false}'::jsonb,
    'nobody is found by another address'
);
select is(
    app.find_salt('ANN@example.com', '192.0.2.1'),
    '{"salt": "$argon2id$salt"}'::jsonb,
    'an address is found in any case, and its hash is not shown'
);
select is(app.find_salt('nobody@example.com', '192.0.2.1'), '{"salt": null}'::jsonb, 'nobody has no salt');
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
