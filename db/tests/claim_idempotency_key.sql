begin;
\ir helpers/tests.psql
select plan(24);

insert into app.idempotency_store (
    tenant_id, idempotency_key, fingerprint, status, headers, body, created_at, expires_at
)
values
(
    'aaaaaaaa-0000-0000-0000-000000000000',
    'stored',
    '\x01',
    201,
    '{"X-Other": "kept"}',
    '{"n": 1}',
    '2026-01-02',
    'infinity'
),
(
    'aaaaaaaa-0000-0000-0000-000000000000',
    'bare',
    '\x01',
    204,
    null,
    null,
    '2026-01-02',
    'infinity'
),
(
    'aaaaaaaa-0000-0000-0000-000000000000',
    'expired',
    '\x01',
    201,
    null,
    '{"n": 1}',
    '2026-01-02',
    '2026-01-03'
),
(
    'bbbbbbbb-0000-0000-0000-000000000000',
    'theirs',
    '\x01',
    201,
    null,
    '{"n": 2}',
    '2026-01-02',
    'infinity'
);
insert into app.idempotency_store (tenant_id, owner_id, idempotency_key, fingerprint, status, body, expires_at)
values (
    'aaaaaaaa-0000-0000-0000-000000000000',
    'aaaaaaaa-0000-0000-0000-00000000000a',
    encode(sha256('users'), 'hex'),
    '\x01',
    201,
    '{"n": 3}',
    'infinity'
);
create temporary table stored_before as
select stored.*
from app.idempotency_store as stored
where stored.tenant_id in ('aaaaaaaa-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000000');
create temporary view held as
select
    pg_locks.classid,
    pg_locks.objid
from pg_locks
where pg_locks.locktype = 'advisory' and pg_locks.pid = pg_backend_pid() and pg_locks.granted;
grant select on held to cardbase_api;

set local role cardbase_api;
select tests.set_tenant('aaaaaaaa-0000-0000-0000-000000000000');

select is_empty('select * from held', 'nothing is held before a key is claimed');
select is(
    app.claim_idempotency_key('aaaaaaaa-0000-0000-0000-000000000000', 'fresh', '\x01'),
    row(null, null, null, null)::api.reply,
    'a key that nobody used answers nothing: the caller does the work'
);
select is((select count(*) from held), 1::bigint, 'who claims a key holds it until the transaction ends');
select is(
    app.claim_idempotency_key('aaaaaaaa-0000-0000-0000-000000000000', '"fresh"', '\x01'),
    row(null, null, null, null)::api.reply,
    'the transaction that holds a key may claim it again'
);
select is((select count(*) from held), 1::bigint, 'a key in double quotes is held as the key without');
select is(
    app.claim_idempotency_key('bbbbbbbb-0000-0000-0000-000000000000', 'fresh', '\x01'),
    row(null, null, null, null)::api.reply,
    'the same key of another tenant can be claimed beside it'
);
select is((select count(*) from held), 2::bigint, 'two tenants'' equal keys are held apart');

select is(
    app.claim_idempotency_key(
        'aaaaaaaa-0000-0000-0000-000000000000', 'stored', '\x02', 'aaaaaaaa-0000-0000-0000-00000000000a'
    ),
    row(null, null, null, null)::api.reply,
    'a user''s key is not the tenant''s'
);
select is(
    app.claim_idempotency_key(
        'aaaaaaaa-0000-0000-0000-000000000000', 'users', '\x01', 'aaaaaaaa-0000-0000-0000-00000000000a'
    ),
    row(201, '{"X-Idempotency-Cache": "HIT"}', '{"n": 3}', null)::api.reply,
    'a user''s key is found again'
);
select is(
    app.claim_idempotency_key(
        'aaaaaaaa-0000-0000-0000-000000000000', encode(sha256('users'), 'hex'), '\x02'
    ),
    row(null, null, null, null)::api.reply,
    'a tenant''s key is not a user''s, whatever it looks like'
);
select is(
    app.claim_idempotency_key('aaaaaaaa-0000-0000-0000-000000000000', 'stored', '\x01'),
    row(201, '{"X-Other": "kept", "X-Idempotency-Cache": "HIT"}', '{"n": 1}', null)::api.reply,
    'a key whose request was answered gives that answer, marked as a HIT'
);
select is(
    app.claim_idempotency_key('aaaaaaaa-0000-0000-0000-000000000000', '"stored"', '\x01'),
    row(201, '{"X-Other": "kept", "X-Idempotency-Cache": "HIT"}', '{"n": 1}', null)::api.reply,
    'in double quotes the key gives the same answer'
);
select is(
    app.claim_idempotency_key('aaaaaaaa-0000-0000-0000-000000000000', 'bare', '\x01'),
    row(204, '{"X-Idempotency-Cache": "HIT"}', null, null)::api.reply,
    'an answer without headers and body is replayed without, but marked'
);
select is(
    app.claim_idempotency_key('aaaaaaaa-0000-0000-0000-000000000000', 'expired', '\x02'),
    row(null, null, null, null)::api.reply,
    'an expired key is as good as new, for another request too'
);
select is(
    app.claim_idempotency_key('aaaaaaaa-0000-0000-0000-000000000000', 'theirs', '\x02'),
    row(null, null, null, null)::api.reply,
    'another tenant''s stored key is not met'
);

select throws_ok(
    $$ select app.claim_idempotency_key('aaaaaaaa-0000-0000-0000-000000000000', 'stored', '\x02') $$,
    'PT422',
    'the idempotency key was used for another request',
    'a key that was used for another request is refused'
);
select is(
    tests.refusal($$ select app.claim_idempotency_key('aaaaaaaa-0000-0000-0000-000000000000', '"stored"', '\x02') $$),
    '{
        "code": "PT422",
        "message": "the idempotency key was used for another request",
        "detail": "The key stored belongs to a request with another body or function.",
        "hint": "Send a new key with a new request.",
        "column": "Idempotency-Key",
        "constraint": "idempotency_key_reused"
    }'::jsonb,
    'the refusal of a used key names the key and says what to do, but nothing of the other request'
);

select lives_ok(
    $$ select app.claim_idempotency_key('aaaaaaaa-0000-0000-0000-000000000000', repeat('é', 255), '\x01') $$,
    'a key of 255 characters is taken'
);
select lives_ok(
    $$
    select app.claim_idempotency_key(
        'aaaaaaaa-0000-0000-0000-000000000000', '"' || repeat('é', 255) || '"', '\x01'
    )
    $$,
    'the double quotes do not count against the 255'
);
select throws_ok(
    $$ select app.claim_idempotency_key('aaaaaaaa-0000-0000-0000-000000000000', repeat('x', 256), '\x01') $$,
    'PT422',
    'the idempotency key is not valid',
    'a key of 256 characters is refused'
);
select throws_ok(
    $$ select app.claim_idempotency_key('aaaaaaaa-0000-0000-0000-000000000000', '', '\x01') $$,
    'PT422',
    'the idempotency key is not valid',
    'an empty key is refused'
);
select throws_ok(
    $$ select app.claim_idempotency_key('aaaaaaaa-0000-0000-0000-000000000000', '""', '\x01') $$,
    'PT422',
    'the idempotency key is not valid',
    'quotes around nothing are refused like an empty key'
);
select is(
    tests.refusal(
        $$ select app.claim_idempotency_key('aaaaaaaa-0000-0000-0000-000000000000', repeat('x', 256), '\x01') $$
    ),
    '{
        "code": "PT422",
        "message": "the idempotency key is not valid",
        "detail": "Expected 1 to 255 characters, got 256.",
        "hint": "Send a key that you generate, such as a UUID, one for each request.",
        "column": "Idempotency-Key",
        "constraint": "validation_error"
    }'::jsonb,
    'the refusal of a key that is too long names the header, the bounds and the length'
);

reset role;
select bag_eq(
    $$
    select stored.*
    from app.idempotency_store as stored
    where stored.tenant_id in ('aaaaaaaa-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000000')
    $$,
    'select * from stored_before',
    'claiming a key changes nothing that is stored'
);

select * from finish();
rollback;
