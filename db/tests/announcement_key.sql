begin;
\ir helpers/tests.psql
select plan(8);

-- As the deployer, for roles that may not call it.
create function tests.announcement_key(name text)
returns text
language sql
security definer
return app.announcement_key(announcement_key.name);

set local role cardbase_api;
select matches(app.announcement_key('users:a'), '^[0-9a-f]{64}$', 'a name is announced as a hash');
select is(app.announcement_key('users:a'), app.announcement_key('users:a'), 'always the same');
select isnt(app.announcement_key('users:a'), app.announcement_key('users:b'), 'another name has another one');
select isnt(
    app.announcement_key('users:a'), encode(sha256('users:a'), 'hex'), 'nobody can compute it without the secret'
);
reset role;
select is(
    (select octet_length(kept.secret) from app.announcement_secret as kept), 32, 'the secret is as long as the hash'
);

set local role cardbase_gateway;
select is(
    (select encode(sha256(api.announcement_secret() || 'users:a'), 'hex')),
    (select tests.announcement_key('users:a')),
    'the gateway knows the secret, and computes the same'
);
set local role cardbase_service;
select throws_ok('select api.announcement_secret()', '42501', null, 'a service is not told the secret');
set local role cardbase_worker;
select throws_ok('select api.announcement_secret()', '42501', null, 'nor is a worker');
reset role;

select * from finish();
rollback;
