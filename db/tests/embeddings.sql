begin;
\ir helpers/tests.psql
-- Where the server has no pgvector, all there is to test is what is said then.
select to_regclass('app.memory_embeddings') is not null as has_embeddings \gset

-- What Ann, or another user, finds in a hybrid search: the numbers, the best first.
create function tests.found(
    q text,
    embedding real[],
    types text[] default null,
    model text default 'm',
    name text default 'ann',
    tenant text default 'acme',
    maximum integer default 20
)
returns integer[]
language sql
return array(
    select right(match.value ->> 'id', 12)::integer
    from
        api.search(
            tests.tenant(found.tenant),
            tests.person(found.name),
            found.q,
            found.types,
            found.maximum,
            'hybrid',
            found.embedding,
            found.model
        ) as answer
    cross join jsonb_array_elements(answer.body -> 'data') with ordinality as match (value, position)
    order by match.position
);
-- The numbers of the memories that have no embedding by a model.
create function tests.unembedded(model text, maximum integer default 100, after integer default null)
returns integer[]
language sql
return array(
    select right(memory.id::text, 12)::integer
    from
        app.find_unembedded_memories(
            tests.tenant('acme'),
            unembedded.model,
            case when unembedded.after is not null then tests.person('ann') end,
            tests.id(unembedded.after),
            unembedded.maximum
        ) as memory
);
-- Stores the embedding of a content.
create function tests.store(
    tenant text, name text, number integer, content text, embedding text, model text default 'm'
)
returns bigint
language sql
return app.store_embeddings(
    tests.tenant(store.tenant),
    store.model,
    array[tests.person(store.name)],
    array[tests.id(store.number)],
    array[sha256(convert_to(store.content, 'UTF8'))],
    array[store.embedding]
);
grant execute on all functions in schema tests to public;

insert into app.memories (tenant_id, user_id, id, content, deleted_at)
values
(tests.tenant('acme'), tests.person('ann'), tests.id(1), 'cats', null),
(tests.tenant('acme'), tests.person('ann'), tests.id(2), 'kittens', null),
(tests.tenant('acme'), tests.person('ann'), tests.id(3), 'dogs', null),
(tests.tenant('acme'), tests.person('ann'), tests.id(4), 'taxes', null),
(tests.tenant('acme'), tests.person('ann'), tests.id(5), 'cats again', now()),
(tests.tenant('acme'), tests.person('ben'), tests.id(6), 'cats of Ben', null),
(tests.tenant('globex'), tests.person('ann'), tests.id(7), 'cats of globex', null);

\if :has_embeddings
select plan(33);

-- Which memories lack one
set local role cardbase_worker;
select is(
    tests.unembedded('m'),
    array[1, 2, 3, 4, 6],
    'of all users of a tenant what is not deleted lacks an embedding'
);
select is(tests.unembedded('m', 2), array[1, 2], 'no more are answered than asked for');
select is(tests.unembedded('m', 2, 2), array[3, 4], 'the next step goes on behind the last');
select is(
    (
        select jsonb_agg(to_jsonb(memory))
        from app.find_unembedded_memories(tests.tenant('globex'), 'm') as memory
    ),
    jsonb_build_array(
        jsonb_build_object(
            'user_id', tests.person('ann'),
            'id', tests.id(7),
            'content', 'cats of globex',
            'content_hash', sha256('cats of globex')
        )
    ),
    'it is answered what to embed, and the hash to store with it'
);
select throws_ok(
    format($$ select app.find_unembedded_memories(%L, 'm', maximum => 0) $$, tests.tenant('acme')),
    '22023',
    null,
    'a step has its bounds'
);

-- Storing
select is(
    app.store_embeddings(
        tests.tenant('acme'),
        'm',
        array[tests.person('ann'), tests.person('ann'), tests.person('ann')],
        array[tests.id(2), tests.id(1), tests.id(3)],
        array[sha256('kittens'), sha256('cats'), sha256('dogs')],
        array['[0.9,0.1,0]', '[1,0,0]', '[0.6,0.8,0]']
    ),
    3::bigint,
    'embeddings are stored many at a time'
);
select is(tests.store('acme', 'ann', 4, 'taxes', '[0,0,1]'), 1::bigint, 'an embedding is stored');
select is(tests.store('acme', 'ben', 6, 'cats of Ben', '[1,0,0]'), 1::bigint, 'another user''s embedding is stored');
select is(tests.store('globex', 'ann', 7, 'cats of globex', '[1,0,0]'), 1::bigint, 'another tenant''s is stored');
select is(tests.store('acme', 'ann', 5, 'cats again', '[1,0,0]'), 0::bigint, 'one of a deleted memory is passed over');
select is(tests.store('acme', 'ann', 3, 'puppies', '[0,0,1]'), 0::bigint, 'so is one of a content that has changed');
select is(
    tests.store('acme', 'ann', 7, 'cats of globex', '[1,0,0]')
    + tests.store('acme', 'ben', 1, 'cats', '[1,0,0]')
    + tests.store('acme', 'ann', 99, 'x', '[1,0,0]'),
    0::bigint,
    'so is one of a memory that the user of the tenant does not have'
);
select throws_ok(
    $$ select tests.store('acme', 'ann', 1, 'cats', 'cats') $$, '22P02', null, 'what is no vector is refused'
);
select throws_ok(
    $$ select tests.store('acme', 'ann', 1, 'cats', '[NaN]') $$, '22000', null, 'what is no number is refused'
);
select is(tests.unembedded('m'), array[]::integer[], 'what has an embedding lacks none');
select is(tests.unembedded('other'), array[1, 2, 3, 4, 6], 'for another model all lack one');
reset role;

-- Searching
set local role cardbase_service;
select is(
    tests.found('cats', array[1, 0, 0], array['memories']),
    array[1, 2, 3],
    'what is near is found beside what has the word'
);
select is(tests.found('nowhere', array[0, 0, 1]), array[4], 'what is near is found without the word');
select is(
    tests.found('taxes', array[0.7, 0.7, 0]),
    array[4, 3, 2, 1],
    'a match on one list and a match on the other mix'
);
select is(
    tests.found('dogs', array[0.9, 0.1, 0], maximum => 1), array[3], 'what is on both lists comes before what is on one'
);
select is(
    (
        select jsonb_path_query_array(body, '$.data[*].rank')
        from
            api.search(
                tests.tenant('acme'), tests.person('ann'), 'cats', null, 2, 'hybrid', array[1, 0, 0], 'm'
            )
    ),
    jsonb_build_array((1.0 / 61)::real + (1.0 / 61)::real, (1.0 / 62)::real),
    'a rank is the sum of what the places on the lists are worth'
);
select is(
    tests.found('cats', array[1, 0, 0], array['tasks']),
    array[]::integer[],
    'other kinds are not near to anything'
);
select is(tests.found('nowhere', array[1, 0, 0], model => 'other'), array[]::integer[], 'models are not compared');
select is(tests.found('nowhere', array[1, 0]), array[]::integer[], 'vectors of different lengths are not compared');
select is(tests.found('nowhere', array[0, 0, 0]), array[]::integer[], 'what points nowhere is near to nothing');
select is(tests.found('nowhere', array[1, 0, 0], name => 'ben'), array[6], 'a user finds what is the user''s own');
select is(
    tests.found('nowhere', array[1, 0, 0], tenant => 'globex'),
    array[7],
    'another tenant''s user with the same id finds what is that tenant''s'
);
select
    is(
        tests.refusal(
            format(
                'select api.search(%L, %L, ''x'', mode => ''hybrid'', %s)',
                tests.tenant('acme'),
                tests.person('ann'),
                refused.arguments
            )
        ) - array['message', 'detail', 'hint'],
        jsonb_build_object('code', 'PT422', 'column', refused.field, 'constraint', 'validation_error'),
        refused.arguments || ' is refused'
    )
from (
    values
    ($$embedding_model => 'm'$$, 'embedding'),
    ($$embedding => '{}', embedding_model => 'm'$$, 'embedding'),
    ($$embedding => '{1,0,0}'$$, 'embedding_model')
) as refused (arguments, field);

-- When a memory changes
do $$ begin
    perform api.update_memory(tests.tenant('acme'), tests.person('ann'), tests.id(1), content => 'birds');
end $$;
select is(tests.found('nowhere', array[1, 0, 0]), array[2, 3], 'an embedding of what a memory was before is not used');
reset role;
set local role cardbase_worker;
select is(tests.unembedded('m'), array[1], 'a memory that has changed lacks one again');

reset role;
drop table app.memory_embeddings;
\else
select plan(1);
\endif

set local role cardbase_service;
select is(
    tests.refusal(
        format(
            $$ select api.search(%L, %L, 'x', mode => 'hybrid', embedding => '{1,0,0}', embedding_model => 'm') $$,
            tests.tenant('acme'),
            tests.person('ann')
        )
    ) - array['message', 'detail', 'hint'],
    '{"code": "PT501", "column": "mode", "constraint": "embeddings_not_configured"}'::jsonb,
    'without pgvector there is no hybrid search'
);

select * from finish();
rollback;
