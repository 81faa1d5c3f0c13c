begin;
\ir helpers/tests.psql
select plan(11);

insert into app.tasks (tenant_id, user_id, id, title, deleted_at)
values
(tests.tenant('acme'), tests.person('ann'), tests.id(1), 'Quarterly report', null),
(tests.tenant('acme'), tests.person('ann'), tests.id(2), 'Quartely', null),
(tests.tenant('acme'), tests.person('ann'), tests.id(3), 'Dentist', null),
(tests.tenant('acme'), tests.person('ann'), tests.id(4), 'Quarterly review', now()),
(tests.tenant('acme'), tests.person('ben'), tests.id(5), 'Quarterly plan', null),
(tests.tenant('globex'), tests.person('ann'), tests.id(6), 'Quarterly plan', null);
insert into app.cards (tenant_id, card_id, card_type, content)
values
(tests.tenant('acme'), tests.id(7), 'company', '{"name": "Quarterly Ltd"}'),
(tests.tenant('globex'), tests.id(8), 'company', '{"name": "Quarterly Ltd"}');
insert into app.card_search (tenant_id, card_id, version, title, search_vector)
select
    cards.tenant_id,
    cards.card_id,
    cards.version,
    app.card_title(cards.content),
    app.card_vector(cards.content)
from app.cards;

-- Which are found, the best first.
create function tests.found(
    q text,
    maximum integer default 5,
    tenant_id uuid default tests.tenant('acme'),
    user_id uuid default tests.person('ann')
)
returns integer[]
language sql
stable
return array(
    select right(match.id::text, 12)::integer
    from
        app.find_task_names(found.tenant_id, found.user_id, found.q, found.maximum)
        with ordinality as match (id, similarity, position)
    order by match.position
);
grant execute on all functions in schema tests to public;

-- As api.search calls it
set local role cardbase_api;
select tests.set_caller(tests.tenant('acme'), tests.person('ann'));
select is(tests.found('Quartrly'), array[1, 2], 'what looks most like it comes first, and what is deleted not at all');
select is(tests.found('Quartrly', 1), array[1], 'no more than the maximum is found');
select is(tests.found('Quartrly', 0), array[]::integer[], 'of a maximum of none, none');
select is(tests.found('quarterly'), array[2], 'what the words themselves find is left out');
select is(
    array(
        select right(match.id::text, 12)::integer
        from app.find_card_names(tests.tenant('acme'), tests.person('ann'), 'Quartrly', 5) as match
    ),
    array[7],
    'a card is found by its name'
);
select is(tests.found('…'), array[]::integer[], 'what has no letter and no digit looks like nothing');
select ok(
    (
        select bool_and(match.similarity between 0.5 and 1)
        from app.find_task_names(tests.tenant('acme'), tests.person('ann'), 'Quartrly', 5) as match
    ),
    'the similarity is from 0.5 to 1'
);

-- For others than the transaction's
select is(
    tests.found('Quartrly', tenant_id => tests.tenant('globex')),
    array[]::integer[],
    'for another tenant than the transaction''s nothing is found'
);
select is(
    tests.found('Quartrly', user_id => tests.person('ben')),
    array[]::integer[],
    'for another user than the transaction''s nothing is found'
);
select tests.set_caller(tests.tenant('acme'), null);
select is(tests.found('Quartrly', user_id => null), array[]::integer[], 'for no user nothing is found');
reset role;

select set_eq(
    $$
    select
        routine.proname::text,
        acl.grantee::regrole::text
    from pg_proc as routine
    cross join aclexplode(routine.proacl) as acl
    where
        routine.proowner = 'cardbase_finder'::regrole
        and routine.proname like 'find\_%\_names'
        and acl.grantee <> routine.proowner
    $$,
    $$ values ('find_task_names', 'cardbase_api'), ('find_card_names', 'cardbase_api') $$,
    'each table with names has a function that runs as the finder, which only the functions of schema api call'
);

select * from finish();
rollback;
