begin;
\ir helpers/tests.psql
select to_regclass('app.memory_embeddings') is not null as has_embeddings \gset

-- The numbers of the memories that are nearest to an embedding, the nearest first.
create function tests.near(name text, embedding real[], model text default 'm', maximum integer default 10)
returns integer[]
language sql
return array(
    select right(memory.id::text, 12)::integer
    from
        app.find_near_memories(tests.tenant('acme'), tests.person(near.name), near.embedding, near.model, near.maximum)
        with ordinality as memory (id, distance, position)
    order by memory.position
);
grant execute on all functions in schema tests to public;

\if :has_embeddings
select plan(9);

-- Of acme's Ann, of Ben, and of a user of globex with Ann's id.
insert into app.memories (tenant_id, user_id, id, content, deleted_at)
select
    tests.tenant(memory.tenant),
    tests.person(memory.name),
    tests.id(memory.number),
    'content',
    case when memory.is_deleted then now() end
from (
    values
    ('acme', 'ann', 1, false), ('acme', 'ann', 2, false), ('acme', 'ann', 3, false), ('acme', 'ann', 4, true),
    ('acme', 'ann', 5, false), ('acme', 'ann', 6, false), ('acme', 'ben', 7, false), ('globex', 'ann', 8, false)
) as memory (tenant, name, number, is_deleted);
select plan.stored
from (
    select
        app.store_embeddings(
            tests.tenant(memory.tenant),
            memory.model,
            array[tests.person(memory.name)],
            array[tests.id(memory.number)],
            array[sha256(memory.content)],
            array[memory.embedding]
        ) as stored
    from (
        values
        ('acme', 'ann', 1, 'm', '[1,0]', 'content'::bytea),
        ('acme', 'ann', 2, 'm', '[0.8,0.6]', 'content'),
        ('acme', 'ann', 3, 'm', '[0,1]', 'content'),
        ('acme', 'ann', 5, 'other', '[1,0]', 'content'),
        ('acme', 'ann', 6, 'm', '[1,0]', 'older content'),
        ('acme', 'ben', 7, 'm', '[1,0]', 'content'),
        ('globex', 'ann', 8, 'm', '[1,0]', 'content')
    ) as memory (tenant, name, number, model, embedding, content)
) as plan;

set local role cardbase_api;
select tests.set_caller(tests.tenant('acme'), tests.person('ann'));
select is(
    tests.near('ann', '{1,0}'),
    '{1,2}',
    'the caller''s memories, the nearest first: none that is far, of another model, or whose content has changed'
);
select is(tests.near('ann', '{0,1}'), '{3,2}', 'what is near depends on what is searched for');
select is(tests.near('ann', '{1,0}', maximum => 1), '{1}', 'there are no more than requested');
select is(tests.near('ann', '{1,0}', 'other'), '{5}', 'another model''s embeddings are compared among themselves');
select is(tests.near('ann', '{1,0,0}'), '{}', 'an embedding of another length is near to none');
select is(
    (
        select round(memory.distance::numeric, 2)
        from app.find_near_memories(tests.tenant('acme'), tests.person('ann'), '{1,0}', 'm', 10) as memory
        where memory.id = tests.id(2)
    ),
    0.20,
    'the distance is that of the cosine'
);
select is(tests.near('ben', '{1,0}'), '{}', 'another user''s memories are not shown, whoever is named');
select is_empty(
    $$ select * from app.find_near_memories(tests.tenant('globex'), tests.person('ann'), '{1,0}', 'm', 10) $$,
    'nor another tenant''s'
);
reset role;
set local role cardbase_service;
select throws_ok(
    $$ select tests.near('ann', '{1,0}') $$, '42501', null, 'services search by api.search only'
);
\else
select plan(1);
set local role cardbase_api;
select throws_ok(
    $$ select tests.near('ann', '{1,0}') $$, 'PT501', 'there are no embeddings here', 'without pgvector it says so'
);
\endif

select * from finish();
rollback;
