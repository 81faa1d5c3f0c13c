begin;
\ir helpers/tests.psql
select plan(6);

set local role cardbase_api;
select app.set_optional_caller(tests.tenant('acme'), tests.person('ann'));
select is(app.current_tenant_id(), tests.tenant('acme'), 'the caller''s tenant is the transaction''s');
select is(app.current_user_id(), tests.person('ann'), 'the caller''s user is the transaction''s');

select app.set_optional_caller(tests.tenant('globex'), null);
select is(app.current_tenant_id(), tests.tenant('globex'), 'a caller who is not a user has a tenant');
select is(app.current_user_id(), null, 'nothing of the user before is left');

select app.set_optional_caller(null, null);
select is(app.current_tenant_id(), null, 'without a tenant there is none, not the one before');
reset role;

set local role cardbase_service;
select throws_ok(
    'select app.set_optional_caller(null, null)', '42501', null, 'a service may not choose the caller itself'
);

select * from finish();
rollback;
