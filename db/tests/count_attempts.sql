begin;
\ir helpers/tests.psql
select plan(14);

-- What counting an attempt of an account from an address says; at most 2 for the account, 4 from the address.
create function tests.count_attempt(account text, address text, seconds integer default 900)
returns integer
language sql
return app.count_attempts(array[count_attempt.account, count_attempt.address], array[2, 4], count_attempt.seconds);
create function tests.attempts(subject text)
returns integer
language sql
return (
    select attempt.attempts
    from app.login_attempts as attempt
    where attempt.subject = sha256(convert_to(attempts.subject, 'UTF8'))
);
grant execute on all functions in schema tests to public;

set local role cardbase_api;
select is(tests.count_attempt('account:ann', 'address:1'), null, 'the first attempt is let pass');
select is(tests.count_attempt('account:ann', 'address:1'), null, 'so is as many as there may be');
select ok(
    (
        select seconds between 890 and 900
        from tests.count_attempt('account:ann', 'address:1') as seconds
    ),
    'one more is told how many seconds to wait, until the window of the first ends'
);
select is(tests.count_attempt('account:ben', 'address:2'), null, 'another account from elsewhere is let pass');
select is(tests.count_attempt('account:ben', 'address:1'), null, 'the address has had four now, whatever the account');
select ok(
    tests.count_attempt('account:eve', 'address:1') > 0, 'then no account may be tried from there any more'
);

-- Only failures add up
select app.forgive_attempts('account:ben', 'address:1');
reset role;
select is(tests.attempts('account:ben'), 0, 'an attempt that was right takes back all failures of its account');
select is(tests.attempts('address:1'), 4, 'and only itself from the address');
select is(tests.attempts('account:ann'), 3, 'other accounts keep their failures');
select app.forgive_attempts('account:nobody', 'address:nowhere');
select is_empty(
    $$ select 1 from app.login_attempts where subject = sha256('account:nobody') $$,
    'to forgive what was never counted stores nothing'
);

-- The window
update app.login_attempts
set expires_at = now() - interval '1 second';
select is(tests.count_attempt('account:ann', 'address:9'), null, 'a window that is over counts no more');
select is(tests.attempts('account:ann'), 1, 'the next one begins with its first attempt');

select is_empty(
    $$ select 1 from app.login_attempts where position('ann' in encode(subject, 'escape')) > 0 $$,
    'the table does not tell who tried'
);
set local role cardbase_service;
select throws_ok(
    $$ select app.forgive_attempts('account:ann', 'address:1') $$, '42501', null, 'a service may not forgive attempts'
);

select * from finish();
rollback;
