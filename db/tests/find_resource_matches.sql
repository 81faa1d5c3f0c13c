begin;
\ir helpers/tests.psql
select plan(26);

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
-- Cards of acme, the newest last: one about a pear and 600 more that were deleted, 199 about a kiwi, one about a plum
-- and 600 more that were deleted. All of them are indexed, as the deletions are still queued.
insert into app.cards (tenant_id, card_id, card_type, content, deleted_at)
select
    tests.tenant('acme'),
    tests.id(n),
    'insight',
    jsonb_build_object('n', n, 'name', case when n <= 601 then 'pear tree' when n <= 800 then 'kiwi' else 'plum' end),
    case when n in (1, 801) or n between 602 and 800 then null else now() end
from generate_series(1, 1401) as n;
insert into app.card_search (tenant_id, card_id, version, title, search_vector)
select
    card.tenant_id,
    card.card_id,
    card.version,
    app.card_title(card.content),
    app.card_vector(card.content)
from app.cards as card;
insert into app.card_search_queue (tenant_id, card_ids)
select
    card.tenant_id,
    array_agg(card.card_id)
from app.cards as card
where not card.is_active
group by card.tenant_id;
create function tests.found_cards(q text, maximum integer default 1)
returns integer[]
language sql
stable
return array(
    select right(match.id::text, 12)::integer
    from
        app.find_card_matches(
            tests.tenant('acme'),
            tests.person('ann'),
            websearch_to_tsquery('english', found_cards.q),
            found_cards.maximum
        ) as match
);
create function tests.named_cards(q text, maximum integer default 1)
returns integer[]
language sql
stable
return array(
    select right(match.id::text, 12)::integer
    from
        app.find_card_names(tests.tenant('acme'), tests.person('ann'), named_cards.q, named_cards.maximum) as match
);

-- Something about a pear of each kind for acme's Ben, and which functions find it for whom.
insert into app.memories (tenant_id, user_id, content) values (tests.tenant('acme'), tests.person('ben'), 'pear tree');
insert into app.conversations (tenant_id, user_id, id) values (tests.tenant('acme'), tests.person('ben'), tests.id(1));
insert into app.messages (tenant_id, user_id, conversation_id, position, role, content)
values (tests.tenant('acme'), tests.person('ben'), tests.id(1), 1, 'user', 'pear tree');
insert into app.tasks (tenant_id, user_id, title) values (tests.tenant('acme'), tests.person('ben'), 'pear tree');
create function tests.finders(tenant_id uuid, user_id uuid)
returns setof text
language plpgsql
stable
as $$
declare
    _name name;
    _found boolean;
begin
    foreach _name in array array(
        select proname
        from pg_proc
        where proname ~ '^find_[a-z]+_(matches|names)$'
    )
    loop
        execute format(
            'select exists (select from app.%I($1, $2, %s, 5))',
            _name,
            case when _name like '%matches' then 'to_tsquery(''english'', ''pear'')' else '''pear tre''' end
        )
        into _found
        using finders.tenant_id, finders.user_id;
        if _found then
            return next _name;
        end if;
    end loop;
end;
$$;
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
-- Deleted cards that are still indexed
select is(tests.found_cards('pear'), array[1], 'deleted cards do not use up what the index on words may find');
select is(tests.found_cards('plum'), array[801], 'deleted cards do not use up the newest');
select is(tests.found_cards('plum', 100), array[801], 'deleted cards are not found');
select is(tests.named_cards('pear tre'), array[1], 'deleted cards do not use up what names may find');
-- For others than the transaction's
select tests.set_caller(tests.tenant('acme'), tests.person('ben'));
select set_eq(
    'select tests.finders(tests.tenant(''acme''), tests.person(''ben''))',
    $$
    select format('find_%s_matches', app.resource_name(name)) from unnest(app.search_types()) as name
    union all
    values ('find_task_names'), ('find_card_names')
    $$,
    'each function finds what is the user''s own, or the tenant''s'
);
select tests.set_caller(tests.tenant('globex'), tests.person('ben'));
select is_empty(
    'select tests.finders(tests.tenant(''acme''), tests.person(''ben''))',
    'in a transaction of another tenant none of the functions finds anything'
);
select is_empty(
    'select tests.finders(tests.tenant(''globex''), tests.person(''ben''))',
    'of another tenant none of the functions finds anything'
);
select tests.set_caller(tests.tenant('acme'), tests.person('ann'));
delete from app.card_search_queue;
select is(tests.found_cards('plum', 20), array[801], 'deleted cards are not found either where none is queued');
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
