begin;
\ir helpers/tests.psql
select plan(152);

insert into app.cards (tenant_id, card_id, card_type, content)
values
('aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000001', 'voice', '{"name": "ours"}'),
('bbbbbbbb-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000001', 'voice', '{"name": "theirs"}');
insert into app.card_usage_totals (tenant_id, card_id, usage_count, last_used_at)
values
('aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000001', 1, '2026-01-02'),
('bbbbbbbb-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000001', 1, '2026-01-02');
insert into app.card_usage (tenant_id, card_id, usage_id, workflow_id, used_at)
values
(
    'aaaaaaaa-0000-0000-0000-000000000000',
    'aaaaaaaa-0000-0000-0000-000000000001',
    'aaaaaaaa-0000-0000-0000-000000000002',
    'workflow',
    '9999-01-02'
),
(
    'bbbbbbbb-0000-0000-0000-000000000000',
    'bbbbbbbb-0000-0000-0000-000000000001',
    'bbbbbbbb-0000-0000-0000-000000000002',
    'workflow',
    '9999-01-02'
);
insert into app.idempotency_store (tenant_id, idempotency_key, fingerprint, status, body, created_at, expires_at)
values
('aaaaaaaa-0000-0000-0000-000000000000', 'ours', '\x01', 201, '{}', '2026-01-02', 'infinity'),
('aaaaaaaa-0000-0000-0000-000000000000', 'ours, expired', '\x01', 201, '{}', '2026-01-02', '2026-01-03'),
('bbbbbbbb-0000-0000-0000-000000000000', 'theirs', '\x01', 201, '{}', '2026-01-02', 'infinity'),
('bbbbbbbb-0000-0000-0000-000000000000', 'theirs, expired', '\x01', 201, '{}', '2026-01-02', '2026-01-03');

-- All that the two tenants have, row by row.
create temporary view truth as
select
    'cards' as table_name,
    cards.tenant_id,
    to_jsonb(cards) as content
from app.cards
union all
select
    'card_usage_totals',
    card_usage_totals.tenant_id,
    to_jsonb(card_usage_totals)
from app.card_usage_totals
union all
select
    'card_usage',
    card_usage.tenant_id,
    to_jsonb(card_usage)
from app.card_usage
union all
select
    'idempotency_store',
    idempotency_store.tenant_id,
    to_jsonb(idempotency_store)
from app.idempotency_store;
create temporary table truth_before as
select truth.*
from truth
where truth.tenant_id in ('aaaaaaaa-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000000');

-- A command on each table, for those who may not use it.
create temporary table direct_access as
select
    format(command.template, 'app.' || tables.name) as statement,
    command.name || ' app.' || tables.name as title
from (
    values
    ('read', 'select from %s'),
    ('add to', 'insert into %s default values'),
    ('change', 'update %s set tenant_id = tenant_id'),
    ('delete from', 'delete from %s'),
    ('empty', 'truncate %s cascade')
) as command (name, template)
cross join (
    values ('cards'), ('card_usage_totals'), ('card_usage'), ('idempotency_store')
) as tables (name);
grant select on direct_access to public;

-- The owner of a card, and another tenant, by way of the functions

set local role cardbase_service;
select is(
    (
        select answer.body -> 'cards' -> 0 -> 'content'
        from api.retrieve_cards(
            'aaaaaaaa-0000-0000-0000-000000000000', array['aaaaaaaa-0000-0000-0000-000000000001']::uuid[]
        ) as answer
    ),
    '{"name": "ours"}'::jsonb,
    'a tenant reads its own card'
);
select is(
    (
        select answer.body
        from api.retrieve_cards(
            'aaaaaaaa-0000-0000-0000-000000000000', array['bbbbbbbb-0000-0000-0000-000000000001']::uuid[]
        ) as answer
    ),
    '{"cards": [], "missing_ids": ["bbbbbbbb-0000-0000-0000-000000000001"]}'::jsonb,
    'another tenant''s card is missing, like one that never was'
);
select throws_ok(
    $$ select api.track_usage('aaaaaaaa-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000001') $$,
    'PT404',
    'card not found',
    'the use of another tenant''s card can''t be counted'
);
select is(
    (
        select answer.body -> 'created_count'
        from api.create_cards(
            'aaaaaaaa-0000-0000-0000-000000000000', '[{"card_type": "voice", "content": {"name": "theirs"}}]'
        ) as answer
    ),
    '1'::jsonb,
    'content that another tenant has is new to this one'
);
select is(
    (
        select row(answer.status, answer.headers)
        from api.create_cards(
            tenant_id => 'aaaaaaaa-0000-0000-0000-000000000000',
            cards => '[{"card_type": "voice", "content": {"name": "theirs"}}]',
            idempotency_key => 'theirs'
        ) as answer
    ),
    row(200::smallint, '{"X-Idempotency-Cache": "MISS"}'::jsonb),
    'another tenant''s idempotency key is free for this one'
);

-- One connection, one tenant after the other

select is(
    (
        select answer.body -> 'cards' -> 0 -> 'content'
        from api.retrieve_cards(
            'bbbbbbbb-0000-0000-0000-000000000000', array['bbbbbbbb-0000-0000-0000-000000000001']::uuid[]
        ) as answer
    ),
    '{"name": "theirs"}'::jsonb,
    'the next call on the connection is for the tenant that it names'
);
select is(
    (
        select answer.body -> 'cards'
        from api.retrieve_cards(
            'bbbbbbbb-0000-0000-0000-000000000000', array['aaaaaaaa-0000-0000-0000-000000000001']::uuid[]
        ) as answer
    ),
    '[]'::jsonb,
    'the next call on the connection sees nothing of the tenant before it'
);
select tests.set_tenant('bbbbbbbb-0000-0000-0000-000000000000');
select is(
    (
        select answer.body -> 'cards'
        from api.retrieve_cards(
            'aaaaaaaa-0000-0000-0000-000000000000', array['bbbbbbbb-0000-0000-0000-000000000001']::uuid[]
        ) as answer
    ),
    '[]'::jsonb,
    'a tenant that the caller set beforehand opens nothing'
);

-- No tenant, by way of the functions

select is(
    (
        select answer.body -> 'cards'
        from api.retrieve_cards(
            null,
            array['aaaaaaaa-0000-0000-0000-000000000001', 'bbbbbbbb-0000-0000-0000-000000000001']::uuid[]
        ) as answer
    ),
    '[]'::jsonb,
    'a call without a tenant sees nothing, not even of the tenant before it'
);
select throws_ok(
    $$ select api.track_usage(null, 'aaaaaaaa-0000-0000-0000-000000000001') $$,
    'PT404',
    'card not found',
    'a call without a tenant counts no use'
);
select throws_ok(
    $$ select api.create_cards(null, '[{"card_type": "voice", "content": {"name": "nobody''s"}}]') $$,
    '42501',
    null,
    'a call without a tenant creates nothing'
);
reset role;
select bag_eq(
    $$ select table_name, content from truth where tenant_id = 'bbbbbbbb-0000-0000-0000-000000000000' $$,
    $$ select table_name, content from truth_before where tenant_id = 'bbbbbbbb-0000-0000-0000-000000000000' $$,
    'after all these calls the other tenant''s rows are as they were'
);
select is_empty(
    $$
    select table_name, content
    from truth
    where tenant_id is null or content -> 'content' ->> 'name' = 'nobody''s'
    $$,
    'after all these calls there are no rows of no tenant'
);

-- The gateway

set local role cardbase_gateway;
select lives_ok(
    $$
    select api.retrieve_cards(
        'aaaaaaaa-0000-0000-0000-000000000000', array['aaaaaaaa-0000-0000-0000-000000000001']::uuid []
    )
    $$,
    'the gateway may call functions of api'
);
select tests.set_tenant('aaaaaaaa-0000-0000-0000-000000000000');
select throws_ok(direct_access.statement, '42501', null, 'the gateway may not ' || direct_access.title)
from direct_access;
select throws_ok(
    $$
    select app.store_cards(
        'aaaaaaaa-0000-0000-0000-000000000000', '[{"card_type": "voice", "content": {}}]', null, null
    )
    $$,
    '42501',
    null,
    'the gateway may not store cards past the function that checks them'
);
select throws_ok(
    $$
    select app.remember_reply(
        'aaaaaaaa-0000-0000-0000-000000000000', 'key', '\x01', 24, row(200, null, '{}', null)::api.reply
    )
    $$,
    '42501',
    null,
    'the gateway may not put words into an idempotency key''s mouth'
);
select throws_ok(
    'select app.purge_idempotency_store(1)', '42501', null, 'the gateway may not purge idempotency keys'
);
reset role;

-- A trusted service

set local role cardbase_service;
select tests.set_tenant('aaaaaaaa-0000-0000-0000-000000000000');
select throws_ok(direct_access.statement, '42501', null, 'a service may not ' || direct_access.title)
from direct_access;
select throws_ok(
    $$
    select app.store_cards(
        'aaaaaaaa-0000-0000-0000-000000000000', '[{"card_type": "voice", "content": {}}]', null, null
    )
    $$,
    '42501',
    null,
    'a service may not store cards past the function that checks them'
);
select throws_ok(
    'select app.purge_idempotency_store(1)', '42501', null, 'a service may not purge idempotency keys'
);
reset role;

-- A worker

set local role cardbase_worker;
select tests.set_tenant('aaaaaaaa-0000-0000-0000-000000000000');
select throws_ok(direct_access.statement, '42501', null, 'a worker may not ' || direct_access.title)
from direct_access;
select throws_ok(
    $$ select api.create_cards('aaaaaaaa-0000-0000-0000-000000000000', '[{"card_type": "voice", "content": {}}]') $$,
    '42501',
    null,
    'a worker may not create cards'
);
select throws_ok(
    $$
    select api.retrieve_cards(
        'aaaaaaaa-0000-0000-0000-000000000000', array['aaaaaaaa-0000-0000-0000-000000000001']::uuid []
    )
    $$,
    '42501',
    null,
    'a worker may not read cards'
);
reset role;

-- Whoever logged in stays who they are

create temporary table way_up as
select unnest(array['cardbase_owner', 'cardbase_api', 'cardbase_maintenance', 'cardbase_finder']) as role_name;
grant select on way_up to public;

set local session authorization cardbase_gateway;
select
    throws_ok(
        'set local role ' || way_up.role_name, '42501', null, 'the gateway may not become ' || way_up.role_name
    )
from way_up;
set local session authorization cardbase_service;
select
    throws_ok(
        'set local role ' || way_up.role_name, '42501', null, 'a service may not become ' || way_up.role_name
    )
from way_up;
set local session authorization cardbase_worker;
select
    throws_ok(
        'set local role ' || way_up.role_name, '42501', null, 'a worker may not become ' || way_up.role_name
    )
from way_up;
reset session authorization;

-- The policies beneath the functions: as cardbase_api, with one tenant set

set local role cardbase_api;
select tests.set_tenant('aaaaaaaa-0000-0000-0000-000000000000');
select is(
    (select array_agg(distinct cards.tenant_id) from app.cards),
    array['aaaaaaaa-0000-0000-0000-000000000000']::uuid[],
    'of cards the policy shows the tenant''s own'
);
select is(
    (select array_agg(distinct card_usage_totals.tenant_id) from app.card_usage_totals),
    array['aaaaaaaa-0000-0000-0000-000000000000']::uuid[],
    'of usage totals the policy shows the tenant''s own'
);
select is(
    (select array_agg(distinct card_usage.tenant_id) from app.card_usage),
    array['aaaaaaaa-0000-0000-0000-000000000000']::uuid[],
    'of usage events the policy shows the tenant''s own'
);
select is(
    (select array_agg(distinct idempotency_store.tenant_id) from app.idempotency_store),
    array['aaaaaaaa-0000-0000-0000-000000000000']::uuid[],
    'of idempotency keys the policy shows the tenant''s own'
);

select is_empty(
    $$
    update app.cards set content = '{"name": "stolen"}'
    where card_id = 'bbbbbbbb-0000-0000-0000-000000000001'
    returning 1
    $$,
    'the policy hides another tenant''s card from an update'
);
select is_empty(
    $$
    update app.card_usage_totals set usage_count = 0
    where card_id = 'bbbbbbbb-0000-0000-0000-000000000001'
    returning 1
    $$,
    'the policy hides another tenant''s usage total from an update'
);
select is_empty(
    $$
    update app.idempotency_store set body = '{}'
    where tenant_id = 'bbbbbbbb-0000-0000-0000-000000000000'
    returning 1
    $$,
    'the policy hides another tenant''s idempotency key from an update'
);

select throws_ok(
    $$
    insert into app.cards (tenant_id, card_type, content)
    values ('bbbbbbbb-0000-0000-0000-000000000000', 'voice', '{"name": "planted"}')
    $$,
    '42501',
    null,
    'the policy refuses a card for another tenant'
);
select throws_ok(
    $$
    insert into app.card_usage_totals (tenant_id, card_id, usage_count, last_used_at)
    values ('bbbbbbbb-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-00000000000f', 9, now())
    $$,
    '42501',
    null,
    'the policy refuses a usage total for another tenant'
);
select throws_ok(
    $$
    insert into app.card_usage (tenant_id, card_id)
    values ('bbbbbbbb-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000001')
    $$,
    '42501',
    null,
    'the policy refuses a usage event for another tenant'
);
select throws_ok(
    $$
    insert into app.idempotency_store (tenant_id, idempotency_key, fingerprint, status, expires_at)
    values ('bbbbbbbb-0000-0000-0000-000000000000', 'planted', '\x01', 200, 'infinity')
    $$,
    '42501',
    null,
    'the policy refuses an idempotency key for another tenant'
);
select throws_ok(
    $$
    update app.cards set tenant_id = 'bbbbbbbb-0000-0000-0000-000000000000'
    where card_id = 'aaaaaaaa-0000-0000-0000-000000000001'
    $$,
    '42501',
    null,
    'the policy refuses to hand a card to another tenant'
);
select throws_ok(
    $$
    update app.card_usage_totals set tenant_id = 'bbbbbbbb-0000-0000-0000-000000000000'
    where card_id = 'aaaaaaaa-0000-0000-0000-000000000001'
    $$,
    '42501',
    null,
    'the policy refuses to hand a usage total to another tenant'
);
select throws_ok(
    $$
    update app.idempotency_store set tenant_id = 'bbbbbbbb-0000-0000-0000-000000000000'
    where idempotency_key = 'ours'
    $$,
    '42501',
    null,
    'the policy refuses to hand an idempotency key to another tenant'
);

select throws_ok('delete from app.cards', '42501', null, 'no function deletes rows of cards');
select throws_ok('delete from app.card_usage_totals', '42501', null, 'no function deletes usage totals');
select throws_ok('delete from app.card_usage', '42501', null, 'no function deletes usage events');
select throws_ok(
    'update app.card_usage set used_at = now()', '42501', null, 'no function changes a usage event'
);
select throws_ok(
    'delete from app.idempotency_store', '42501', null, 'no product function deletes idempotency keys'
);

-- The finder's functions, which run past the policy of cards

select is(
    app.find_cards(
        tenant_id => 'bbbbbbbb-0000-0000-0000-000000000000',
        card_type => null,
        source_session_id => null,
        created_by => null,
        contains => null,
        include_deleted => true,
        before => 'ffffffff-ffff-ffff-ffff-ffffffffffff',
        maximum => 10
    ),
    '{}'::uuid[],
    'the finder finds no card for another tenant than the transaction''s'
);
select is(
    app.count_cards(
        tenant_id => 'bbbbbbbb-0000-0000-0000-000000000000',
        card_type => null,
        source_session_id => null,
        created_by => null,
        contains => null,
        include_deleted => true
    ),
    0::bigint,
    'the finder counts no card for another tenant than the transaction''s'
);

-- What is unique is so within a tenant, and a reference stays in it

select lives_ok(
    $$
    insert into app.cards (tenant_id, card_id, card_type, content)
    values (
        'aaaaaaaa-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000001', 'insight', '{"name": "same id"}'
    )
    $$,
    'that another tenant has a card id can''t be told from an insert'
);
select throws_ok(
    $$
    insert into app.card_usage_totals (tenant_id, card_id, usage_count, last_used_at)
    values ('aaaaaaaa-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-00000000000f', 1, now())
    $$,
    '23503',
    null,
    'a usage total belongs to a card of its tenant'
);
select throws_ok(
    $$
    insert into app.card_usage (tenant_id, card_id)
    values ('aaaaaaaa-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000001')
    $$,
    '23503',
    null,
    'a usage event belongs to a usage total of its tenant'
);

-- The policies with no tenant set

select tests.set_tenant(null);
select is_empty('select from app.cards', 'without a tenant the policy shows no card');
select is_empty('select from app.card_usage_totals', 'without a tenant the policy shows no usage total');
select is_empty('select from app.card_usage', 'without a tenant the policy shows no usage event');
select is_empty('select from app.idempotency_store', 'without a tenant the policy shows no idempotency key');
select is_empty(
    $$ update app.cards set content = '{"name": "stolen"}' returning 1 $$, 'without a tenant no card can be changed'
);
select throws_ok(
    $$
    insert into app.cards (tenant_id, card_type, content)
    values ('aaaaaaaa-0000-0000-0000-000000000000', 'voice', '{"name": "planted"}')
    $$,
    '42501',
    null,
    'without a tenant no card can be added'
);
select throws_ok(
    $$ insert into app.cards (tenant_id, card_type, content) values (null, 'voice', '{"name": "planted"}') $$,
    '42501',
    null,
    'a card of no tenant can''t be added either'
);

-- The other tenant's turn

select tests.set_tenant('bbbbbbbb-0000-0000-0000-000000000000');
select is(
    (select array_agg(cards.content ->> 'name') from app.cards),
    array['theirs'],
    'with the other tenant set the policy shows that tenant''s cards, unchanged'
);
reset role;

-- The owner of the tables

set local role cardbase_owner;
select tests.set_tenant(null);
select is_empty('select from app.card_usage_totals', 'the tables'' owner sees no usage total past the policy');
select is_empty('select from app.card_usage', 'the tables'' owner sees no usage event past the policy');
select is_empty(
    $$ update app.cards set content = '{"name": "stolen"}' returning 1 $$,
    'the tables'' owner changes no card past the policy'
);
select is_empty('delete from app.card_usage returning 1', 'the tables'' owner deletes nothing past the policy');
select throws_ok(
    $$
    insert into app.cards (tenant_id, card_type, content)
    values ('bbbbbbbb-0000-0000-0000-000000000000', 'voice', '{"name": "planted"}')
    $$,
    '42501',
    null,
    'the tables'' owner adds no card past the policy'
);
reset role;

-- The finder

set local role cardbase_finder;
select tests.set_tenant(null);
select set_has(
    $$ select tenant_id::text, card_id::text from app.cards $$,
    $$
    values
    ('aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000001'),
    ('bbbbbbbb-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-000000000001')
    $$,
    'the finder searches the cards of all tenants'
);
select throws_ok('select cards.* from app.cards', '42501', null, 'the finder may not read whole cards');
select throws_ok(
    $$ update app.cards set content = '{}' $$, '42501', null, 'the finder may not change cards'
);
select throws_ok('delete from app.cards', '42501', null, 'the finder may not delete cards');
select throws_ok(
    'select count(*) from app.card_usage', '42501', null, 'the finder may not read usage events'
);
select throws_ok(
    'select count(*) from app.card_usage_totals', '42501', null, 'the finder may not read usage totals'
);
select throws_ok(
    'select count(*) from app.idempotency_store', '42501', null, 'the finder may not read idempotency keys'
);
reset role;

-- Maintenance

insert into app.card_usage (tenant_id, card_id, usage_id, used_at)
values
(
    'aaaaaaaa-0000-0000-0000-000000000000',
    'aaaaaaaa-0000-0000-0000-000000000001',
    'aaaaaaaa-0000-0000-0000-00000000000d',
    '2026-01-02'
),
(
    'bbbbbbbb-0000-0000-0000-000000000000',
    'bbbbbbbb-0000-0000-0000-000000000001',
    'bbbbbbbb-0000-0000-0000-00000000000d',
    '2026-01-02'
);
set local role cardbase_maintenance;
select set_has(
    $$ select tenant_id::text, idempotency_key from app.idempotency_store $$,
    $$
    values
    ('aaaaaaaa-0000-0000-0000-000000000000', 'ours, expired'),
    ('bbbbbbbb-0000-0000-0000-000000000000', 'theirs, expired')
    $$,
    'maintenance sees the expired idempotency keys of all tenants'
);
select is_empty(
    $$ select idempotency_key from app.idempotency_store where expires_at > now() $$,
    'the policy hides from maintenance what has not expired'
);
select throws_ok(
    'select body from app.idempotency_store', '42501', null, 'maintenance may not read what a request was answered'
);
select throws_ok(
    $$ update app.idempotency_store set expires_at = 'infinity' where idempotency_key = 'theirs, expired' $$,
    '42501',
    null,
    'the policy refuses maintenance to prolong a key'
);
select is_empty(
    $$ delete from app.idempotency_store where idempotency_key in ('ours', 'theirs') returning 1 $$,
    'the policy hides from maintenance''s deletes what has not expired'
);
select throws_ok(
    $$
    insert into app.idempotency_store (tenant_id, idempotency_key, fingerprint, status, expires_at)
    values ('bbbbbbbb-0000-0000-0000-000000000000', 'planted', '\x01', 200, '2026-01-02')
    $$,
    '42501',
    null,
    'maintenance may not add keys'
);
select throws_ok(
    'select created_by from app.cards', '42501', null, 'maintenance may read of cards only what searches find them by'
);
select throws_ok('delete from app.cards', '42501', null, 'and may not delete them');
select set_has(
    $$ select tenant_id::text, usage_id::text from app.card_usage $$,
    $$
    values
    ('aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-00000000000d'),
    ('bbbbbbbb-0000-0000-0000-000000000000', 'bbbbbbbb-0000-0000-0000-00000000000d')
    $$,
    'maintenance sees the old usage events of all tenants'
);
select is_empty(
    $$ select usage_id from app.card_usage where used_at > now() - interval '1 day' $$,
    'the policy hides from maintenance the events of the last day'
);
select throws_ok(
    'select workflow_id from app.card_usage', '42501', null, 'maintenance may not read what used a card'
);
select throws_ok(
    'update app.card_usage set used_at = now()', '42501', null, 'the policy refuses maintenance to make an event new'
);
select throws_ok(
    'select count(*) from app.card_usage_totals', '42501', null, 'maintenance may not read usage totals'
);
reset role;
delete from app.card_usage
where usage_id::text like '%00d';

-- The truth

select bag_eq(
    $$ select table_name, content from truth where tenant_id = 'bbbbbbbb-0000-0000-0000-000000000000' $$,
    $$ select table_name, content from truth_before where tenant_id = 'bbbbbbbb-0000-0000-0000-000000000000' $$,
    'after everything that was tried the other tenant''s rows are as they were'
);
select bag_has(
    $$ select table_name, content from truth where tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000' $$,
    $$ select table_name, content from truth_before where tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000' $$,
    'after everything that was tried the tenant''s own rows are as they were'
);

select * from finish();
rollback;
