begin;
\ir helpers/tests.psql
select plan(52);

create function pg_temp.register(tenant_id uuid, email text, token text, display_name text default null)
returns api.reply
language sql
return api.register_user(
    register.tenant_id,
    register.email,
    '$argon2id$v=19$salt$' || lower(register.email),
    register.display_name,
    sha256(convert_to(register.token, 'UTF8')),
    30
);
create function pg_temp.login(email text, password text, network text default '192.0.2.1')
returns smallint
language sql
return (
    select answer.status
    from api.start_session(
        login.email,
        login.network,
        '$argon2id$v=19$salt$' || login.password,
        sha256(convert_to(login.password || clock_timestamp(), 'UTF8')),
        30
    ) as answer
);
create function pg_temp.fail(email text, network text, times integer)
returns smallint[]
language sql
return (
    select array_agg(distinct pg_temp.login(fail.email, 'wrong' || n, fail.network))
    from generate_series(1, fail.times) as n
);

-- Registration
set local role cardbase_gateway;
create temporary table ann as
select
    answer.*,
    (answer.body -> 'data' ->> 'id')::uuid as user_id
from pg_temp.register(tests.tenant('acme'), 'Ann@Example.com', 'first', 'Ann') as answer;
select is(
    (select (body -> 'data') - array['id', 'created_at', 'updated_at'] from ann),
    '{
        "tenant_id": "aaaaaaaa-0000-0000-0000-000000000000",
        "email": "ann@example.com",
        "display_name": "Ann",
        "avatar_url": null,
        "first_name": null,
        "last_name": null
    }'::jsonb,
    'a new user is answered, with the email address in lower case and no password'
);
select is(
    tests.refusal(
        $$ select pg_temp.register(tests.tenant('globex'), 'aNN@example.com', 'second') $$
    ) - 'hint',
    '{
        "code": "PT409",
        "message": "this email address is taken",
        "detail": "A user signs in with it.",
        "column": "email",
        "constraint": "conflict"
    }'::jsonb,
    'an email address is one user''s among all tenants, and nothing is said of whose'
);
select
    is(
        tests.refusal(format($$ select pg_temp.register(tests.tenant('acme'), %L, 'second') $$, email)) ->> 'column',
        'email',
        format('%s is no email address', left(email, 30))
    )
from unnest(
    array['', 'ann', 'ann@', '@example.com', 'a b@example.com', E'ann@example.com\n', repeat('x', 251) || '@x.y']
) as email;
reset role;
select results_eq(
    $$
    select users.tenant_id::text, users.email
    from app.users
    $$,
    $$ values ('aaaaaaaa-0000-0000-0000-000000000000', 'ann@example.com') $$,
    'a refused registration leaves no user'
);
select is((select count(*) from app.refresh_tokens), 1::bigint, 'a refused registration leaves no session');
select results_eq(
    $$ select credentials.email, credentials.home_tenant_id, credentials.user_id from app.credentials $$,
    $$ select 'ann@example.com', tests.tenant('acme'), ann.user_id from ann $$,
    'credentials lead from the email address to the user'
);
select is_empty(
    $$
    select pg_attribute.attrelid::regclass
    from pg_attribute
    inner join pg_class on pg_class.oid = pg_attribute.attrelid
    where
        pg_class.relnamespace = 'app'::regnamespace
        and pg_class.relkind = 'r'
        and pg_attribute.attname ~ 'password'
        and pg_class.relname <> 'credentials'
    $$,
    'passwords are in no other table'
);

-- What to hash a password with
set local role cardbase_gateway;
select is(
    (select body from api.begin_login('ANN@example.com', '192.0.2.1')),
    '{"salt": "$argon2id$v=19$salt"}'::jsonb,
    'of the hash of an email address, in whatever case, all but the hash itself is shown'
);
select results_eq(
    $$ select status, headers, body from api.begin_login('nobody@example.com', '192.0.2.1') $$,
    $$ values (200::smallint, null::jsonb, '{"salt": null}'::jsonb) $$,
    'for an unknown address there is no salt, and the attempt goes on'
);

-- Signing in
select is(
    (
        select answer.body
        from api.start_session(
            'Ann@example.com', '192.0.2.1', '$argon2id$v=19$salt$ann@example.com', sha256('second'), 30
        ) as answer
    ),
    (select ann.body from ann),
    'who signs in is returned the profile'
);
select is(pg_temp.login('ann@example.com', 'ben'), 401::smallint, 'another hash does not sign in');
select is(pg_temp.login('nobody@example.com', 'ann@example.com'), 401::smallint, 'nor does an unknown address');
select throws_ok(
    $$ select app.check_password('ann@example.com', '192.0.2.1', 'x') $$,
    '42501',
    null,
    'the gateway can''t compare without signing in'
);
select is(pg_temp.login('ann@example.com', 'ann@example.com'), 200::smallint, 'a right attempt forgives the failures');

-- Failures
select is(pg_temp.fail('ann@example.com', '192.0.2.2', 10), '{401}', 'ten attempts from one network may fail');
select results_eq(
    $$
    select status, headers ->> 'Retry-After' between '1' and '900', body
    from api.start_session('ann@example.com', '192.0.2.2', '$argon2id$v=19$salt$ann@example.com', 'x', 30)
    $$,
    $$ values (429::smallint, true, null::jsonb) $$,
    'then the account is locked there, even for the right password'
);
select is(
    (select status from api.begin_login('Ann@example.com', '192.0.2.2')), 429::smallint, 'and no password is hashed'
);
select is(
    (select body from api.begin_login('ann@example.com', '192.0.2.2')), null, 'who has to wait is shown no salt'
);
select is(
    pg_temp.login('ann@example.com', 'ann@example.com', '192.0.2.1'),
    200::smallint,
    'the owner''s own network stays free'
);
select is(
    pg_temp.fail('nobody@example.com', '192.0.2.3', 11), '{401,429}', 'an unknown account is locked like a known one'
);
select is(
    (
        select array_agg(distinct pg_temp.login('x' || n || '@example.com', 'x', '192.0.2.4'))
        from generate_series(1, 120) as n
    ),
    '{401}',
    'failures for other accounts, however many, lock no account'
);
select is(
    pg_temp.login('ann@example.com', 'ann@example.com', '192.0.2.4'),
    200::smallint,
    'the right password signs in from a network with a hundred failures'
);
select is(
    pg_temp.fail('ann@example.com', '192.0.2.4', 4), '{401,429}', 'but from there only three attempts may fail'
);
select is(
    (
        select array_agg(distinct pg_temp.login('ann@example.com', 'x' || n, '198.51.100.' || n))
        from generate_series(1, 100) as n
    ),
    '{401}',
    'guesses from many networks are refused one by one'
);
select is(
    pg_temp.login('ann@example.com', 'ann@example.com', '203.0.113.1'),
    200::smallint,
    'and lock the owner out of no other network'
);
select is(
    pg_temp.fail('ann@example.com', '203.0.113.2', 4), '{401,429}', 'but each further network has only three of them'
);
select is(
    pg_temp.login('nobody@example.com', 'x', '["network", "192.0.2.9"]'), 401::smallint, 'an address may be any text'
);
reset role;
select is_empty(
    $$
    select login_attempts.subject
    from app.login_attempts
    where length(login_attempts.subject) <> 32 or encode(login_attempts.subject, 'escape') ~ 'example'
    $$,
    'who tried is kept as a hash'
);
update app.login_attempts
set expires_at = now() - interval '1 s';
set local role cardbase_gateway;
select is(
    pg_temp.login('ann@example.com', 'ann@example.com', '192.0.2.2'),
    200::smallint,
    'after its window an attempt counts no more'
);
select is(
    (
        select array_agg(answer.status order by n)
        from generate_series(1, 101) as n
        cross join lateral api.begin_registration('192.0.2.1' || left('', n)) as answer
    ),
    array_fill(200::smallint, array[100]) || 429::smallint,
    'registrations are counted, apart from attempts to sign in'
);
reset role;
update app.login_attempts
set expires_at = now() - interval '1 s';
set local role cardbase_gateway;

-- Refresh tokens
create function pg_temp.refresh(token text, next_token text, user_id uuid default null, tenant_id uuid default null)
returns smallint
language sql
return (
    select answer.status
    from api.refresh_session(
        coalesce(refresh.tenant_id, tests.tenant('acme')),
        coalesce(refresh.user_id, (select ann.user_id from ann)),
        sha256(convert_to(refresh.token, 'UTF8')),
        sha256(convert_to(refresh.next_token, 'UTF8')),
        30
    ) as answer
);
select is(pg_temp.refresh('first', 'first, next'), 200::smallint, 'a refresh token is exchanged');
select is(pg_temp.refresh('first, next', 'first, last'), 200::smallint, 'what it was exchanged for is good, too');
select is(pg_temp.refresh('none', 'x'), 401::smallint, 'a token that is none is not exchanged');
select is(
    pg_temp.refresh('first, last', 'x', gen_random_uuid()), 401::smallint, 'another user''s token is not exchanged'
);
select is(
    pg_temp.refresh('first, last', 'x', null, tests.tenant('globex')),
    401::smallint,
    'another tenant''s token is not exchanged'
);
select is(pg_temp.refresh('first', 'x'), 401::smallint, 'a token that was used is not exchanged again');
select is(
    pg_temp.refresh('first, last', 'x'), 401::smallint, 'a token that was replayed takes its family along'
);
select is(pg_temp.refresh('second', 'second, next'), 200::smallint, 'another family stays as it was');

-- Signing out
select is(
    (
        select answer.status
        from ann
        cross join api.end_session(tests.tenant('acme'), ann.user_id, sha256('second')) as answer
    ),
    204::smallint,
    'a session is ended by any token of its family'
);
select is(pg_temp.refresh('second, next', 'x'), 401::smallint, 'a session that was ended is not taken up again');
select is(
    (
        select answer.status
        from ann
        cross join api.end_session(tests.tenant('acme'), ann.user_id, sha256('nothing')) as answer
    ),
    204::smallint,
    'to end no session is no mistake'
);
select lives_ok(
    $$
    select
        api.start_session('ann@example.com', '192.0.2.1', '$argon2id$v=19$salt$ann@example.com', sha256(token), 30)
    from unnest(array['third'::bytea, 'fourth']) as token
    $$,
    'a user may have several sessions'
);
select is(
    (
        select answer.status
        from ann
        cross join api.end_session(tests.tenant('acme'), ann.user_id, null) as answer
    ),
    204::smallint,
    'all sessions of a user are ended at once'
);
select is(
    array[pg_temp.refresh('third', 'x'), pg_temp.refresh('fourth', 'x')],
    array[401, 401]::smallint[],
    'after that none of them is good'
);
select is(
    (
        select array_agg(answer.status)
        from api.start_session(
            'ann@example.com', '192.0.2.1', '$argon2id$v=19$salt$ann@example.com', sha256('fifth'), 0
        ) as answer
    ),
    array[200]::smallint[],
    'a session may be as short as nothing'
);
select is(pg_temp.refresh('fifth', 'x'), 401::smallint, 'an expired token is not exchanged');
reset role;

select * from finish();
rollback;
