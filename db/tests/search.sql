begin;
\ir helpers/tests.psql
select plan(56);

-- Ann and Ben are users of acme; Eve is one of globex.

-- The number of a row's id.
create function tests.number(id text)
returns integer
language sql
immutable
return right(number.id, 12)::integer;

insert into app.memories (tenant_id, user_id, id, content, deleted_at)
values
(tests.tenant('acme'), tests.person('ann'), tests.id(1), 'The budget for marketing is tight', null),
(tests.tenant('acme'), tests.person('ann'), tests.id(2), 'budget, budget and again the budget', null),
(tests.tenant('acme'), tests.person('ann'), tests.id(3), 'Ann runs every morning', null),
(tests.tenant('acme'), tests.person('ann'), tests.id(4), 'The budget of last year', now()),
(tests.tenant('acme'), tests.person('ben'), tests.id(5), 'The budget of Ben', null),
(tests.tenant('globex'), tests.person('eve'), tests.id(6), 'The budget of globex', null),
-- Another tenant's user may have the same id.
(tests.tenant('globex'), tests.person('ann'), tests.id(7), 'The budget of another Ann', null);
insert into app.conversations (tenant_id, user_id, id)
values
(tests.tenant('acme'), tests.person('ann'), tests.id(10)),
(tests.tenant('acme'), tests.person('ben'), tests.id(11));
insert into app.messages (tenant_id, user_id, id, conversation_id, position, role, content, deleted_at)
values
(tests.tenant('acme'), tests.person('ann'), tests.id(12), tests.id(10), 1, 'user', 'How large is our budget?', null),
(tests.tenant('acme'), tests.person('ann'), tests.id(13), tests.id(10), 2, 'assistant', 'No budget is known', now()),
(tests.tenant('acme'), tests.person('ben'), tests.id(14), tests.id(11), 1, 'user', 'The budget of Ben', null);
insert into app.tasks (tenant_id, user_id, id, title, description)
values
(tests.tenant('acme'), tests.person('ann'), tests.id(20), 'Budget', 'Send it to Ben'),
(tests.tenant('acme'), tests.person('ann'), tests.id(21), 'Quarterly report', 'with the budget in it'),
(tests.tenant('acme'), tests.person('ben'), tests.id(22), 'The budget of Ben', null);
insert into app.cards (tenant_id, card_id, card_type, content, deleted_at)
values
(
    tests.tenant('acme'),
    tests.id(30),
    'company',
    '{"name": "Budget Hotels Ltd", "facts": [{"text": "cheap rooms"}], "budget key": 1}',
    null
),
(tests.tenant('acme'), tests.id(31), 'insight', '{"a": {"b": ["deep in it a budget"]}, "rooms": null}', null),
(tests.tenant('acme'), tests.id(32), 'insight', '{"a": "a budget that was deleted"}', now()),
(tests.tenant('globex'), tests.id(33), 'company', '{"name": "Budget of globex"}', null);
insert into app.card_search_queue (tenant_id, card_ids)
select
    tenant_id,
    array_agg(card_id)
from app.cards
group by tenant_id;

-- What a user of acme finds: the numbers, the best first.
create function tests.found(
    q text,
    types text[] default null,
    maximum integer default null,
    name text default 'ann',
    tenant text default 'acme'
)
returns integer[]
language sql
return array(
    select tests.number(match.value ->> 'id')
    from
        api.search(
            tests.tenant(found.tenant), tests.person(found.name), found.q, found.types, found.maximum
        ) as answer
    cross join jsonb_array_elements(answer.body -> 'data') with ordinality as match (value, position)
    order by match.position
);
-- The first match.
create function tests.best(q text, types text[] default null)
returns jsonb
language sql
return (
    select answer.body -> 'data' -> 0
    from api.search(tests.tenant('acme'), tests.person('ann'), best.q, best.types) as answer
);
grant execute on all functions in schema tests to public;

set local role cardbase_service;

-- The answer
select is(
    (
        select to_jsonb(answer) - 'body'
        from api.search(tests.tenant('acme'), tests.person('ann'), 'budget') as answer
    ),
    '{"status": 200, "headers": null, "measures": null}'::jsonb,
    'a search is answered with 200'
);
select is(
    (
        select body - 'data'
        from api.search(tests.tenant('acme'), tests.person('ann'), 'budget', array['task', 'memories', 'tasks'], 1)
    ),
    '{"success": true, "meta": {"mode": "text", "types": ["memories", "tasks"], "limit": 1, "count": 1}}'::jsonb,
    'the answer says how it was searched'
);
select is(
    (
        select body -> 'meta'
        from api.search(tests.tenant('acme'), tests.person('ann'), 'nowhere', null, null, null)
    ),
    '{"mode": "text", "types": ["memories", "messages", "tasks", "cards"], "limit": 20, "count": 0}'::jsonb,
    'what is left out is searched as its default says'
);
select is(
    tests.best('runs', array['memories']) - array['rank', 'created_at'],
    jsonb_build_object(
        'type', 'memory',
        'id', tests.id(3),
        'title', null,
        'snippet', 'Ann runs every morning',
        'highlight', 'Ann <mark>runs</mark> every morning'
    ),
    'a memory is shown by its content'
);
select is(
    tests.best('large budget') - array['rank', 'created_at'],
    jsonb_build_object(
        'type', 'message',
        'id', tests.id(12),
        'title', null,
        'snippet', 'How large is our budget?',
        'highlight', 'How <mark>large</mark> is our <mark>budget</mark>?'
    ),
    'a message is shown by its content'
);
select is(
    tests.best('quarterly') - array['rank', 'created_at'],
    jsonb_build_object(
        'type', 'task',
        'id', tests.id(21),
        'title', 'Quarterly report',
        'snippet', e'Quarterly report\nwith the budget in it',
        'highlight', e'<mark>Quarterly</mark> report\nwith the budget in it'
    ),
    'a task is shown by its title and description'
);
select is(
    tests.best('cheap rooms') - array['rank', 'created_at'],
    jsonb_build_object(
        'type', 'card',
        'id', tests.id(30),
        'title', 'Budget Hotels Ltd',
        'snippet', e'Budget Hotels Ltd\ncheap rooms',
        'highlight', e'Budget Hotels Ltd\n<mark>cheap</mark> <mark>rooms</mark>'
    ),
    'a card is shown by its name and the strings of its content'
);
reset role;
select is(
    (tests.best('runs') ->> 'created_at')::timestamptz,
    (
        select created_at
        from app.memories
        where id = tests.id(3)
    ),
    'a match says when it was created'
);
set local role cardbase_service;

-- Ranking
select is(
    tests.found('budget'),
    array[20, 30, 2, 31, 12, 21, 1],
    'names come before texts, more of a word before less'
);
select is(tests.found('budget', maximum => 3), array[20, 30, 2], 'the limit keeps the best');
select ok(
    (
        select bool_and((match.value ->> 'rank')::real > 0 and (match.value ->> 'rank')::real <= match.previous)
        from (
            select
                element.value,
                coalesce(lag((element.value ->> 'rank')::real) over (order by element.position), 1) as previous
            from api.search(tests.tenant('acme'), tests.person('ann'), 'budget') as answer
            cross join jsonb_array_elements(answer.body -> 'data') with ordinality as element (value, position)
        ) as match
    ),
    'ranks fall from match to match'
);
select is(tests.found('budget', array['memories']), array[2, 1], 'a search among memories finds no other');
select is(tests.found('budget', array['message']), array[12], 'a search among messages finds no other');
select is(tests.found('budget', array['tasks']), array[20, 21], 'a search among tasks finds no other');
select is(tests.found('budget', array['card']), array[30, 31], 'a search among cards finds no other');
select is(
    tests.found('budget', array['cards', 'messages']), array[30, 31, 12], 'a search among two kinds finds both'
);

-- What is searched for
select is(tests.found('run'), array[3], 'a word is found in whatever form it has');
select is(tests.found('BUDGETS marketing'), array[1], 'all words have to be there, in whatever case');
select is(tests.found('marketing or morning'), array[1, 3], 'between two words or asks for one of them');
select is(tests.found('"deep in it"'), array[31], 'a phrase is found');
select is(tests.found('"rooms cheap"'), array[]::integer[], 'a phrase has its order');
select is(
    tests.found('budget -marketing', array['memories']), array[2], 'what has a word that is ruled out is not found'
);
select is(
    tests.found('-budget', array['memories']), array[3], 'what only lacks a word is looked for among the newest'
);
select is(
    tests.found('nothing or -budget', array['memories']), array[3], 'so is what may lack a word instead of having one'
);
select is(tests.found('the'), array[]::integer[], 'a word that says nothing finds nothing');
select is(tests.found('!!! ((('), array[]::integer[], 'signs find nothing');
select is(tests.found('key'), array[]::integer[], 'the keys of a card are no text');
select is(tests.found('null'), array[]::integer[], 'what is no string is no text');
select is(tests.found(tests.id(1)::text), array[]::integer[], 'an id is no text');
select is(tests.found('Quartely'), array[21], 'a title is found in spite of a slip');
select is(tests.found('Budgte Hotel'), array[30], 'a card''s name is found in spite of a slip');
select is(
    tests.best('Quartely') ->> 'highlight',
    e'Quarterly report\nwith the budget in it',
    'in what is only similar nothing is marked'
);
select is(tests.found('report quarterly'), array[21], 'a title''s words may come in another order');
reset role;
insert into app.tasks (tenant_id, user_id, id, title)
values (tests.tenant('acme'), tests.person('ann'), tests.id(23), 'Quaterly');
set local role cardbase_service;
select is(tests.found('quarterly'), array[21, 23], 'where words find little, names follow that look alike');
select is(tests.found('quarterly', maximum => 1), array[21], 'where words find enough, they don''t');
select ok(
    (
        select min(match ->> 'rank') filter (where match ->> 'title' = 'Quaterly') < '0.1'
        from api.search(tests.tenant('acme'), tests.person('ann'), 'quarterly') as answer
        cross join jsonb_array_elements(answer.body -> 'data') as match
    ),
    'what only looks alike ranks below that'
);
select is(
    tests.found($$'; drop table app.cards; --$$) || tests.found($$' or 1=1 --$$) || tests.found('$1 %I %s \ " &'),
    array[]::integer[],
    'SQL is searched for like any other text'
);
select
    is(
        cardinality(tests.found(line.q)) >= 0,
        true,
        line.q || ': a search of an odd form is answered'
    )
from (
    values
    ('"budget'),
    ('or or or'),
    ('- - -'),
    ('budget <-> & | ! :* report'),
    (chr(1) || chr(128512) || chr(8238) || chr(65279))
) as line (q);

-- Isolation
select
    is(
        tests.found('budget', name => 'ben'),
        array[22, 30, 31, 14, 5],
        'a user finds what is the user''s own, and cards'
    );
select is(
    tests.found('budget', name => 'eve', tenant => 'globex'), array[33, 6], 'another tenant finds what is its own'
);
select is(
    tests.found('budget', name => 'ann', tenant => 'globex'),
    array[33, 7],
    'a user of another tenant with the same id finds that tenant''s'
);
select is(
    tests.found('budget', name => 'eve', tenant => 'acme'),
    array[30, 31],
    'a user with no rows in the tenant finds its cards'
);

-- What is refused
select
    is(
        tests.refusal(
            format('select api.search(%L, %L, %s)', tests.tenant('acme'), tests.person('ann'), refused.arguments)
        ) - array['message', 'detail', 'hint'],
        jsonb_build_object('code', 'PT422', 'column', refused.field, 'constraint', 'validation_error'),
        refused.arguments || ': the field is named'
    )
from (
    values
    ('null', 'q'),
    ($$e' \t\n'$$, 'q'),
    ($$repeat('x', 501)$$, 'q'),
    ($$'x', '{}'$$, 'types'),
    ($$'x', array['users']$$, 'types'),
    ($$'x', array['tasks', null]$$, 'types'),
    ($$'x', "limit" => 0$$, 'limit'),
    ($$'x', "limit" => 101$$, 'limit'),
    ($$'x', mode => 'near'$$, 'mode')
) as refused (arguments, field);
select throws_ok(
    format($$ select api.search(%L, null, 'x') $$, tests.tenant('acme')),
    'PT401',
    null,
    'a caller who is no user is refused'
);

select * from finish();
rollback;
