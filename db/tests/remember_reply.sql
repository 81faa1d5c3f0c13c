begin;
\ir helpers/tests.psql
select plan(20);

insert into app.idempotency_store (
    tenant_id, idempotency_key, fingerprint, status, headers, body, created_at, expires_at
)
values
(
    'aaaaaaaa-0000-0000-0000-000000000000', 'expired', '\x01', 200, '{"A": "1"}', '{"n": 1}', '2026-01-02', '2026-01-03'
),
(
    'aaaaaaaa-0000-0000-0000-000000000000', 'stored', '\x01', 200, null, '{"n": 1}', '2026-01-02', 'infinity'
),
(
    'bbbbbbbb-0000-0000-0000-000000000000', 'both', '\x01', 200, null, '{"n": 1}', '2026-01-02', 'infinity'
);
create temporary view stored as
select idempotency_store.*
from app.idempotency_store
where idempotency_store.tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000';
create temporary table started as select clock_timestamp() as at;

set local role cardbase_api;
select tests.set_tenant('aaaaaaaa-0000-0000-0000-000000000000');

select is(
    app.remember_reply(
        'aaaaaaaa-0000-0000-0000-000000000000',
        'fresh',
        '\x02',
        24,
        row(201, '{"X-Other": "kept"}', '{"n": 2}', '[["measure", {}, 1]]')::api.reply
    ),
    row(201, '{"X-Other": "kept", "X-Idempotency-Cache": "MISS"}', '{"n": 2}', '[["measure", {}, 1]]')::api.reply,
    'the reply is answered as it was given, marked as a MISS'
);
select is(
    app.remember_reply(
        'aaaaaaaa-0000-0000-0000-000000000000', '"quoted"', '\x02', 24, row(204, null, null, null)::api.reply
    ),
    row(204, '{"X-Idempotency-Cache": "MISS"}', null, null)::api.reply,
    'a reply without headers and body stays without, but is marked'
);
select lives_ok(
    $$
    select app.remember_reply(
        'aaaaaaaa-0000-0000-0000-000000000000', 'expired', '\x02', 24, row(201, null, '{"n": 2}', null)::api.reply
    )
    $$,
    'an expired key is taken anew'
);
select lives_ok(
    $$
    select app.remember_reply(
        'aaaaaaaa-0000-0000-0000-000000000000', 'both', '\x02', 24, row(201, null, '{"n": 2}', null)::api.reply
    )
    $$,
    'a key that another tenant has stored is free'
);
select lives_ok(
    $$
    select app.remember_reply(
        'aaaaaaaa-0000-0000-0000-000000000000', key, '\x02', hours, row(201, null, '{}', null)::api.reply
    )
    from (values ('two hours', 2), ('no hours', 0), ('negative', -5), ('null hours', null)) as sent (key, hours)
    $$,
    'any number of hours is taken'
);
select lives_ok(
    $$
    select app.remember_reply(
        'aaaaaaaa-0000-0000-0000-000000000000',
        'stored',
        '\x02',
        24,
        row(201, null, '{}', null)::api.reply,
        'aaaaaaaa-0000-0000-0000-00000000000a'
    )
    $$,
    'a user may have the tenant''s key'
);
reset role;

select is(
    (
        select stored.idempotency_key
        from stored
        where stored.owner_id = 'aaaaaaaa-0000-0000-0000-00000000000a'
    ),
    encode(sha256('stored'), 'hex'),
    'a user''s key is stored as its SHA-256, under the user'
);
select is(
    (
        select row(stored.fingerprint, stored.status, stored.headers, stored.body)
        from stored
        where stored.idempotency_key = 'fresh'
    ),
    row('\x02'::bytea, 201::smallint, '{"X-Other": "kept"}'::jsonb, '{"n": 2}'::jsonb),
    'the reply is stored without the mark, beside the fingerprint of its request'
);
select is(
    (select stored.expires_at - stored.created_at from stored where stored.idempotency_key = 'fresh'),
    interval '24 hours',
    'a reply is remembered for the hours given'
);
select ok(
    (select stored.created_at >= started.at from stored cross join started where stored.idempotency_key = 'fresh'),
    'the hours begin when the reply is stored'
);
select results_eq(
    $$
    select idempotency_key
    from stored
    where expires_at = created_at + interval '1 hour'
    order by idempotency_key
    $$,
    array['negative', 'no hours', 'null hours'],
    'a reply is remembered for 1 hour at least'
);
select is_empty(
    $$ select 1 from stored where idempotency_key like '"%' $$,
    'no key is stored with the double quotes around it'
);
select is(
    (select stored.status from stored where stored.idempotency_key = 'quoted'),
    204::smallint,
    'a key in double quotes is stored without them'
);
select is(
    (
        select row(stored.fingerprint, stored.status, stored.headers, stored.body)
        from stored
        where stored.idempotency_key = 'expired'
    ),
    row('\x02'::bytea, 201::smallint, null::jsonb, '{"n": 2}'::jsonb),
    'of an expired key''s first reply nothing is left'
);
select ok(
    (
        select stored.created_at >= started.at and stored.expires_at = stored.created_at + interval '24 hours'
        from stored
        cross join started
        where stored.idempotency_key = 'expired'
    ),
    'an expired key''s time starts anew'
);

set local role cardbase_api;
select throws_ok(
    $$
    select app.remember_reply(
        'aaaaaaaa-0000-0000-0000-000000000000', 'stored', '\x01', 24, row(201, null, '{"n": 2}', null)::api.reply
    )
    $$,
    '40001',
    'another transaction stored this idempotency key meanwhile',
    'a key that is stored and not expired is not overwritten'
);
select throws_ok(
    $$
    select app.remember_reply(
        'bbbbbbbb-0000-0000-0000-000000000000', 'fresh', '\x01', 24, row(201, null, '{"n": 2}', null)::api.reply
    )
    $$,
    '42501',
    null,
    'a reply of a tenant that is not the transaction''s is refused by the policy'
);
reset role;
select is(
    (select row(stored.status, stored.body, stored.expires_at) from stored where stored.idempotency_key = 'stored'),
    row(200::smallint, '{"n": 1}'::jsonb, 'infinity'::timestamptz),
    'the reply that was stored first stays'
);
select results_eq(
    $$
    select idempotency_key, body
    from app.idempotency_store
    where tenant_id = 'bbbbbbbb-0000-0000-0000-000000000000'
    $$,
    $$ values ('both', '{"n": 1}'::jsonb) $$,
    'the other tenant''s keys are as they were'
);
select is((select count(*) from stored), 10::bigint, 'each reply is one row');

select * from finish();
rollback;
