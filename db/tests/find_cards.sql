begin;
\ir helpers/tests.psql
select plan(23);

-- The finder is the only role that sees the cards of all tenants: what it may do is all in this file, and in the two
-- functions that run as it.
insert into app.cards (tenant_id, card_id, card_type, content)
select
    tests.tenant('acme'),
    ('aaaaaaaa-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid,
    case when n % 2 = 0 then 'voice' else 'insight' end,
    jsonb_build_object('n', n, 'rare', n <= 4, 'common', true)
from generate_series(1, 450) as n;
insert into app.cards (tenant_id, card_id, card_type, content)
values (tests.tenant('globex'), 'aaaaaaaa-0000-0000-0000-000000000451', 'voice', '{"rare": true, "common": true}');

-- The last digits of what is found, with only those parameters that matter here.
create function tests.found(
    tenant_id uuid,
    contains jsonb,
    maximum integer,
    before integer default 999,
    card_type text default null,
    include_deleted boolean default false
)
returns integer[]
language sql
stable
return array(
    select right(card.id::text, 12)::integer
    from
        unnest(
            app.find_cards(
                found.tenant_id,
                found.card_type,
                null,
                null,
                found.contains,
                found.include_deleted,
                ('aaaaaaaa-0000-0000-0000-' || lpad(found.before::text, 12, '0'))::uuid,
                found.maximum
            )
        ) with ordinality as card (id, position)
    order by card.position
);
grant execute on all functions in schema tests to public;

-- As list_cards calls it
set local role cardbase_api;
select tests.set_tenant(tests.tenant('acme'));
select is(tests.found(tests.tenant('acme'), null, 3), array[450, 449, 448], 'without contains the newest are found');
select is(
    tests.found(tests.tenant('acme'), '{"common": true}', 3),
    array[450, 449, 448],
    'what is common is found among the newest'
);
select is(
    tests.found(tests.tenant('acme'), '{"rare": true}', 3),
    array[4, 3, 2],
    'what is rare is found beyond a hundred candidates for each id, newest first'
);
select is(
    tests.found(tests.tenant('acme'), '{"rare": true}', 3, before => 3),
    array[2, 1],
    'what is found is below the id given'
);
select is(
    tests.found(tests.tenant('acme'), '{"rare": true}', 3, card_type => 'insight'),
    array[3, 1],
    'the other filters hold for what is rare'
);
select is(
    tests.found(tests.tenant('acme'), '{"n": 0}', 3), array[]::integer[], 'what is not there is not found'
);
select is(
    tests.found(tests.tenant('acme'), '{"common": true}', 3, before => 3),
    array[2, 1],
    'the end of the list ends the page'
);
select is(
    app.find_cards(
        tests.tenant('acme'),
        null,
        gen_random_uuid(),
        null,
        '{"rare": true}',
        false,
        'ffffffff-ffff-ffff-ffff-ffffffffffff',
        3
    ),
    '{}',
    'a session without cards has none that contain anything'
);
select is(
    app.count_cards(tests.tenant('acme'), null, null, null, null, false), 450::bigint, 'all cards are counted'
);
select is(
    app.count_cards(tests.tenant('acme'), 'insight', null, 'api', '{"rare": true}', false),
    2::bigint,
    'the cards that pass all filters are counted'
);
select is(
    app.count_cards(tests.tenant('acme'), null, null, 'nobody', null, false), 0::bigint, 'cards of nobody are none'
);

reset role;
update app.cards set deleted_at = now()
where cards.card_id = 'aaaaaaaa-0000-0000-0000-000000000003';
set local role cardbase_api;
select is(
    tests.found(tests.tenant('acme'), '{"rare": true}', 3), array[4, 2, 1], 'a deleted card is passed over'
);
select is(
    tests.found(tests.tenant('acme'), '{"rare": true}', 3, include_deleted => true),
    array[4, 3, 2],
    'a deleted card is found when it is asked for'
);
select is(
    app.count_cards(tests.tenant('acme'), null, null, null, '{"rare": true}', false),
    3::bigint,
    'a deleted card is not counted'
);
select is(
    app.count_cards(tests.tenant('acme'), null, null, null, '{"rare": true}', true),
    4::bigint,
    'a deleted card is counted when it is asked for'
);

-- For another tenant than the transaction's
select is(
    tests.found(tests.tenant('globex'), '{"rare": true}', 3),
    array[]::integer[],
    'for another tenant than the transaction''s nothing is found'
);
select is(
    app.count_cards(tests.tenant('globex'), null, null, null, null, false),
    0::bigint,
    'for another tenant than the transaction''s nothing is counted'
);
select tests.set_tenant(null);
select is(
    tests.found(tests.tenant('acme'), null, 3),
    array[]::integer[],
    'in a transaction without a tenant nothing is found'
);
select is(
    app.count_cards(tests.tenant('acme'), null, null, null, null, false),
    0::bigint,
    'in a transaction without a tenant nothing is counted'
);
reset role;

-- What the finder may do
select set_eq(
    $$
    select routine.oid::regprocedure::text
    from pg_proc as routine
    where routine.proowner = 'cardbase_finder'::regrole and routine.proname like '%\_cards'
    $$,
    array[
        'app.find_cards(uuid,text,uuid,text,jsonb,boolean,uuid,integer)',
        'app.count_cards(uuid,text,uuid,text,jsonb,boolean)'
    ],
    'these functions run as the finder'
);
select set_eq(
    $$
    select
        routine.proname::text,
        acl.grantee::regrole::text
    from pg_proc as routine
    cross join aclexplode(routine.proacl) as acl
    where
        routine.proowner = 'cardbase_finder'::regrole
        and routine.proname like '%\_cards'
        and acl.grantee <> routine.proowner
    $$,
    $$ values ('find_cards', 'cardbase_api'), ('count_cards', 'cardbase_api') $$,
    'only the functions of schema api call them'
);
select set_eq(
    $$
    select
        relation.oid::regclass::text,
        attribute.attname::text,
        acl.privilege_type
    from pg_attribute as attribute
    inner join pg_class as relation on relation.oid = attribute.attrelid
    cross join aclexplode(attribute.attacl) as acl
    where acl.grantee = 'cardbase_finder'::regrole and relation.oid = 'app.cards'::regclass
    $$,
    $$ values
    ('app.cards', 'tenant_id', 'SELECT'),
    ('app.cards', 'card_id', 'SELECT'),
    ('app.cards', 'card_type', 'SELECT'),
    ('app.cards', 'content', 'SELECT'),
    ('app.cards', 'source_session_id', 'SELECT'),
    ('app.cards', 'created_by', 'SELECT'),
    ('app.cards', 'is_active', 'SELECT')
    $$,
    'the finder reads the columns it searches, and writes none'
);
select is_empty(
    $$
    select relation.oid::regclass
    from pg_class as relation
    cross join aclexplode(relation.relacl) as acl
    where acl.grantee = 'cardbase_finder'::regrole
    $$,
    'the finder has no right on a whole table'
);

select * from finish();
rollback;
