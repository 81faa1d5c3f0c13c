begin;
\ir helpers/tests.psql
select plan(18);

-- 1,000 memories of Ann's: all have a common word, every tenth a frequent one, the 500th alone a rare one, and four of
-- the oldest a word that is common there. The very oldest has the common word twice.
insert into app.memories (tenant_id, user_id, id, content)
select
    tests.tenant('acme'),
    tests.person('ann'),
    ('01000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid,
    concat_ws(
        ' ',
        'common',
        case when n % 10 = 0 then 'frequent' end,
        case when n = 500 then 'rare' end,
        case when n between 2 and 5 then 'old' end,
        case when n = 1 then 'common' else 'and three words more' end
    )
from generate_series(1, 1000) as n;
insert into app.memories (tenant_id, user_id, content)
values
(tests.tenant('acme'), tests.person('ben'), 'rare'),
(tests.tenant('globex'), tests.person('ann'), 'rare');

-- The last digits of what is found in memories, best first.
create function tests.found(
    q text,
    maximum integer default 3,
    tenant_id uuid default tests.tenant('acme'),
    user_id uuid default tests.person('ann')
)
returns integer[]
language sql
stable
return array(
    select right(match.id::text, 12)::integer
    from
        app.find_memory_matches(
            found.tenant_id, found.user_id, websearch_to_tsquery('english', found.q), found.maximum
        )
        with ordinality as match (id, rank, position)
    order by match.position
);
grant execute on all functions in schema tests to public;

-- As api.search calls it
set local role cardbase_api;
select tests.set_caller(tests.tenant('acme'), tests.person('ann'));
select is(tests.found('rare'), array[500], 'what is rare is found, however old it is');
select is(current_setting('enable_indexscan'), 'on', 'what the planner was told for that is forgotten afterwards');
select is(tests.found('old'), array[5, 4, 3], 'of what ranks alike the newest comes first');
select is(tests.found('frequent'), array[1000, 990, 980], 'what is frequent is found among the newest');
select is(tests.found('frequent', 1), array[1000], 'no more than the maximum is found');
select is(
    (tests.found('common', 20))[1:3],
    array[1, 999, 998],
    'as many candidates are ranked as fifty for each match'
);
select is(
    tests.found('common', 5),
    array[999, 998, 997, 996, 995],
    'what is too old to be a candidate for a common word is not found by it'
);
select is(tests.found('-common'), array[]::integer[], 'what nothing lacks is not found');
select is(tests.found('-frequent'), array[999, 998, 997], 'what lacks a word is found among the newest');
select is(tests.found(''), array[]::integer[], 'nothing is not found');
-- For others than the transaction's
select is(
    tests.found('rare', tenant_id => tests.tenant('globex')),
    array[]::integer[],
    'for another tenant than the transaction''s nothing is found'
);
select is(
    tests.found('rare', user_id => tests.person('ben')),
    array[]::integer[],
    'for another user than the transaction''s nothing is found'
);
select is(tests.found('rare', user_id => null), array[]::integer[], 'for no user nothing is found');
select tests.set_caller(tests.tenant('acme'), null);
select is(tests.found('rare'), array[]::integer[], 'in a transaction without a user nothing is found');
select is(tests.found('rare', user_id => null), array[]::integer[], 'and not for no user either');
select tests.set_caller(null, tests.person('ann'));
select is(tests.found('rare'), array[]::integer[], 'in a transaction without a tenant nothing is found');
reset role;

-- What the finder may do here
select set_eq(
    $$
    select
        routine.proname::text,
        acl.grantee::regrole::text
    from pg_proc as routine
    cross join aclexplode(routine.proacl) as acl
    where
        routine.proowner = 'cardbase_finder'::regrole
        and routine.proname like '%\_matches'
        and acl.grantee <> routine.proowner
    $$,
    $$
    select
        format('find_%s_matches', app.resource_name(name)),
        'cardbase_api'
    from unnest(app.search_types()) as name
    $$,
    'each table has a function that runs as the finder, which only the functions of schema api call'
);
select is_empty(
    $$
    select
        attribute.attrelid::regclass,
        attribute.attname
    from pg_attribute as attribute
    cross join aclexplode(attribute.attacl) as acl
    where
        acl.grantee = 'cardbase_finder'::regrole
        and attribute.attname in ('metadata', 'description', 'role', 'settings', 'encrypted_settings', 'email')
    $$,
    'the finder reads no column that it does not search'
);

select * from finish();
rollback;
