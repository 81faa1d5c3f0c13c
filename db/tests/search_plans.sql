begin;
\ir helpers/tests.psql
\ir helpers/reads.psql
select plan(15);

-- A new tenant each time: rows that an earlier run left, rolled back and not yet vacuumed, would be counted as read.
select
    set_config('tests.large_tenant', gen_random_uuid()::text, true),
    set_config('tests.busy_user', gen_random_uuid()::text, true);
create function tests.large_tenant()
returns uuid
language sql
stable
return current_setting('tests.large_tenant')::uuid;
create function tests.busy_user()
returns uuid
language sql
stable
return current_setting('tests.busy_user')::uuid;

-- A user with 100,000 memories, 100,000 messages and 20,000 tasks, of a tenant with 100,000 cards; and as many memories
-- of other users. Every text has a common word, every thousandth a rare one.
create function tests.body(n integer)
returns text
language sql
immutable
return concat_ws(' ', 'common', 'n' || body.n % 5000, case body.n % 1000 when 1 then 'rare' end);
insert into app.memories (tenant_id, user_id, content)
select
    tests.large_tenant(),
    tests.busy_user(),
    tests.body(n)
from generate_series(1, 100000) as n;
insert into app.memories (tenant_id, user_id, content)
select
    case when n % 2 = 0 then tests.large_tenant() else tests.tenant('globex') end,
    ('aaaaaaaa-0000-0000-0000-' || lpad((n % 100)::text, 12, '0'))::uuid,
    'common rare'
from generate_series(1, 20000) as n;
insert into app.conversations (tenant_id, user_id, id)
values (tests.large_tenant(), tests.busy_user(), tests.large_tenant());
insert into app.messages (tenant_id, user_id, conversation_id, position, role, content)
select
    tests.large_tenant(),
    tests.busy_user(),
    tests.large_tenant(),
    n,
    'user',
    tests.body(n)
from generate_series(1, 100000) as n;
insert into app.tasks (tenant_id, user_id, title)
select
    tests.large_tenant(),
    tests.busy_user(),
    tests.body(n)
from generate_series(1, 20000) as n;
insert into app.cards (tenant_id, card_type, content)
select
    tests.large_tenant(),
    'insight',
    jsonb_build_object('n', n, 'name', 'card ' || tests.body(n))
from generate_series(1, 100000) as n;
insert into app.card_search_queue (tenant_id, card_ids)
select
    tests.large_tenant(),
    array_agg(card_id)
from app.cards
where tenant_id = tests.large_tenant();
select app.index_cards(tests.large_tenant());
analyze app.memories;
analyze app.messages;
analyze app.tasks;
analyze app.card_search;

-- What a search among one kind reads of its table, and whether by the index on words.
create function tests.searched(q text, table_name name, bound bigint)
returns jsonb
language sql
volatile
return (
    select
        read.what - 'indexes' || jsonb_build_object(
            'by_words', read.what -> 'indexes' ? (searched.table_name || '_search')
            or read.what -> 'indexes' ? 'card_search_words'
        )
    from (
        select
            tests.reads(
                format(
                    'select api.search(tests.large_tenant(), tests.busy_user(), %L, array[%L])',
                    searched.q,
                    searched.table_name
                ),
                (
                    'app.' || case searched.table_name when 'cards' then 'card_search' else searched.table_name end
                )::regclass,
                searched.bound
            ) as what
    ) as read
);
grant execute on all functions in schema tests to public;

-- 200 newest rows are looked at first. Of what is rare there are 100 matches (20 of tasks), found twice: in the index
-- and in the table; 20 rows are shown.
select
    is(
        tests.searched('rare', name, 500),
        '{"rows": "at most 500", "by_words": true, "is_scanned": false}'::jsonb,
        name || ': what is rare is found by the index on words'
    )
from unnest(app.search_types()) as name;
select
    is(
        tests.searched('common', name, 1300),
        '{"rows": "at most 1300", "by_words": false, "is_scanned": false}'::jsonb,
        name || ': what is common is found among the newest, fifty candidates for each match'
    )
from unnest(app.search_types()) as name;
select
    is(
        tests.searched('nowhere', name, 300),
        '{"rows": "at most 300", "by_words": true, "is_scanned": false}'::jsonb,
        name || ': what is not there is not looked for in the table'
    )
from unnest(app.search_types()) as name;
select is(
    tests.searched('-common', 'memories', 1300),
    '{"rows": "at most 1300", "by_words": false, "is_scanned": false}'::jsonb,
    'what no index can find is looked for among the newest alone'
);
select is(
    tests.searched('n4999 rare or n1', 'memories', 500) -> 'is_scanned',
    'false'::jsonb,
    'a search for several words reads no table through'
);
select is(
    tests.reads(
        $$
        select api.search(
            tests.large_tenant(), 'aaaaaaaa-0000-0000-0000-000000000010', 'rare', array['memories'], 100
        )
        $$,
        'app.memories',
        1000
    ) -> 'is_scanned',
    'false'::jsonb,
    'a user with few rows beside one with many has them found by an index'
);

select * from finish();
rollback;
