begin;
\ir helpers/tests.psql
select plan(45);

create function pg_temp.register(tenant_id uuid, email text, token text, display_name text default null)
returns api.reply
language sql
return api.register_user(
    register.tenant_id,
    register.email,
    '$argon2id$v=19$hash of ' || register.email,
    register.display_name,
    sha256(convert_to(register.token, 'UTF8')),
    30
);
create function pg_temp.login(email text, address text default '192.0.2.1')
returns api.reply
language sql
return api.begin_login(login.email, login.address, 3, 5);

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

-- Attempts
set local role cardbase_gateway;
select is(
    (select body from pg_temp.login('ANN@example.com')),
    (
        select
            jsonb_build_object(
                'tenant_id', tests.tenant('acme'),
                'user_id', ann.user_id,
                'password_hash', '$argon2id$v=19$hash of Ann@Example.com'
            )
        from ann
    ),
    'the credentials of an email address are found, in whatever case'
);
select results_eq(
    $$ select status, headers, body from pg_temp.login('nobody@example.com') $$,
    $$ values (200::smallint, null::jsonb, null::jsonb) $$,
    'for an unknown address there is nothing to find, and the attempt goes on'
);
select is((select status from pg_temp.login('ann@example.com')), 200::smallint, 'the second attempt may be made');
select is((select status from pg_temp.login('ann@example.com')), 200::smallint, 'the third attempt may be made');
select is(
    (select status from pg_temp.login('ann@example.com', '192.0.2.2')),
    429::smallint,
    'one more for the account is too many, from wherever it comes'
);
select cmp_ok(
    (select (headers ->> 'Retry-After')::integer from pg_temp.login('ann@example.com', '192.0.2.2')),
    '<=',
    900,
    'who has to wait is told how long'
);
select is((select body from pg_temp.login('ann@example.com', '192.0.2.2')), null, 'who has to wait learns no hash');
select is(
    (
        select array_agg(answer.status order by n)
        from generate_series(1, 4) as n
        cross join lateral pg_temp.login('other@example.com' || n * 0, '192.0.2.3') as answer
    ),
    array[200, 200, 200, 429]::smallint[],
    'an unknown account is locked like a known one'
);
select
    is(
        (select status from pg_temp.login('x1@example.com')),
        200::smallint,
        'the fifth attempt from an address may be made'
    );
select is(
    (select status from pg_temp.login('x2@example.com')),
    429::smallint,
    'one more from the address is too many, for whatever account'
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

-- An attempt that was right
set local role cardbase_gateway;
select is(
    (
        select answer.body
        from ann
        cross join api.start_session(
            tests.tenant('acme'), ann.user_id, 'Ann@example.com', '192.0.2.1', sha256('second'), 30
        ) as answer
    ),
    (select ann.body from ann),
    'who signs in is answered the profile'
);
select is(
    (select status from pg_temp.login('ann@example.com', '192.0.2.9')), 200::smallint, 'the account is free again'
);
select is(
    (select status from pg_temp.login('x3@example.com')), 429::smallint, 'failures at other accounts still count'
);
reset role;
update app.login_attempts
set expires_at = now() - interval '1 s';
set local role cardbase_gateway;
select
    is(
        (select status from pg_temp.login('x4@example.com')),
        200::smallint,
        'after its window an attempt counts no more'
    );
select is(
    (
        select array_agg(answer.status order by n)
        from generate_series(1, 3) as n
        cross join lateral api.begin_registration('192.0.2.1' || left('', n), 2) as answer
    ),
    array[200, 200, 429]::smallint[],
    'registrations are counted, apart from attempts to sign in'
);

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
    select api.start_session(tests.tenant('acme'), ann.user_id, 'ann@example.com', '192.0.2.1', sha256(token), 30)
    from ann
    cross join unnest(array['third'::bytea, 'fourth']) as token
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
        from ann
        cross join api.start_session(
            tests.tenant('acme'), ann.user_id, 'ann@example.com', '192.0.2.1', sha256('fifth'), 0
        ) as answer
    ),
    array[200]::smallint[],
    'a session may be as short as nothing'
);
select is(pg_temp.refresh('fifth', 'x'), 401::smallint, 'an expired token is not exchanged');
reset role;

select * from finish();
rollback;
