begin;
\ir helpers/tests.psql
\ir helpers/reads.psql
select plan(29);

-- A new tenant each time: rows that an earlier run left, rolled back and not yet vacuumed, would be counted as read.
select set_config('tests.large_tenant', gen_random_uuid()::text, true);
create function tests.large_tenant()
returns uuid
language sql
stable
return current_setting('tests.large_tenant')::uuid;

-- A tenant with 100,000 cards beside one with 20,000. What a filter finds is among the oldest, where a walk through all
-- newer cards would be dear: 10,000 voices, 60,000 made by ada, a session of 100. 20,000 in the middle are deleted, and
-- five in all are rare.
insert into app.cards (tenant_id, card_id, card_type, content, source_session_id, created_by, deleted_at)
select
    tests.large_tenant(),
    ('01000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid,
    case when n <= 10000 then 'voice' else 'insight' end,
    jsonb_build_object('n', n, 'language', 'en', 'rare', n % 20000 = 1),
    case when n <= 100 then '01000000-0000-7000-8000-000000000000'::uuid when n % 7 = 0 then gen_random_uuid() end,
    case when n <= 60000 then 'ada' else 'eve' end,
    case when n between 40001 and 60000 then '2026-01-02'::timestamptz end
from generate_series(1, 100000) as n;
insert into app.cards (tenant_id, card_type, content)
select
    tests.tenant('globex'),
    'voice',
    jsonb_build_object('n', n)
from generate_series(1, 20000) as n;
insert into app.card_usage_totals (tenant_id, card_id, usage_count, last_used_at)
select
    card.tenant_id,
    card.card_id,
    1,
    '2026-01-03'
from app.cards as card
where card.tenant_id = tests.large_tenant();
-- 20,000 events of one card, one each of the others of its tenant.
insert into app.card_usage (tenant_id, card_id, usage_id)
select
    tests.large_tenant(),
    ('01000000-0000-7000-8000-' || lpad(greatest(n - 20000, 1)::text, 12, '0'))::uuid,
    ('00e00000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid
from generate_series(1, 40000) as n;
analyze app.cards;
analyze app.card_usage_totals;
analyze app.card_usage;

-- The plan of a statement of a function, as the function has it planned: its text, settings, role and tenant.
--   function    the function
--   beginning   how the statement begins; it goes on to its semicolon
--   arguments   the function's arguments, as SQL, in their order
-- Answers explain's JSON.
-- What it sets is as before when it ends: that is what the settings of its own are for.
create function tests.plan_of(function regproc, beginning text, arguments text)
returns jsonb
language plpgsql
set plan_cache_mode = 'auto'
set enable_sort = on
set jit = off
as $$
declare
    _function pg_proc;
    _setting text;
    _statement text;
    _plan jsonb;
begin
    select * into strict _function from pg_proc where pg_proc.oid = plan_of.function;

    _statement := substr(_function.prosrc, strpos(_function.prosrc, plan_of.beginning));
    _statement := regexp_replace(split_part(_statement, ';', 1), '\n *into _[a-z_, ]+', '');
    for position in 1 .. cardinality(_function.proargnames) loop
        _statement := regexp_replace(
            _statement, format('\m%s\.%s\M', _function.proname, _function.proargnames[position]), '$' || position, 'g'
        );
    end loop;

    foreach _setting in array array_remove(_function.proconfig, 'search_path=pg_catalog, pg_temp') loop
        perform set_config(split_part(_setting, '=', 1), split_part(_setting, '=', 2), true);
    end loop;
    execute format('set local role %I', _function.proowner::regrole);
    execute format(
        'prepare planned (%s) as %s',
        (select string_agg(type::regtype::text, ', ') from unnest(_function.proargtypes) as type),
        _statement
    );
    execute format('explain (format json) execute planned (%s)', plan_of.arguments) into _plan;
    deallocate planned;
    reset role;
    return _plan;
end;
$$;
-- The indexes of a plan, by name.
create function tests.indexes_of(plan jsonb)
returns text[]
language sql
immutable
return array(
    select distinct index #>> '{}'
    from jsonb_path_query(indexes_of.plan, 'strict $.**."Index Name"') as index
    order by 1
);
-- Whether a plan has a node of a type.
create function tests.has_node(plan jsonb, type text)
returns boolean
language sql
immutable
return jsonb_path_exists(
    has_node.plan, 'strict $.**."Node Type" ? (@ == $type)', jsonb_build_object('type', has_node.type)
);

-- Pages of 50: 51 are looked for, one more than asked for, and 50 got.
select is(
    tests.reads($$ select api.list_cards(tests.large_tenant()) $$, 'app.cards', 102),
    '{"rows": "at most 102", "indexes": ["cards_active", "cards_pkey"], "is_scanned": false}'::jsonb,
    'the list of active cards reads a page from their index'
);
select is(
    tests.reads($$ select api.list_cards(tests.large_tenant(), include_deleted => true) $$, 'app.cards', 102),
    '{"rows": "at most 102", "indexes": ["cards_pkey"], "is_scanned": false}'::jsonb,
    'the list of all cards reads a page from the key'
);
select is(
    tests.reads($$ select api.list_cards(tests.large_tenant(), 'voice') $$, 'app.cards', 102),
    '{"rows": "at most 102", "indexes": ["cards_card_type", "cards_pkey"], "is_scanned": false}'::jsonb,
    'the list of a type reads a page from its index, however old its cards are'
);
select is(
    tests.reads(
        $$ select api.list_cards(tests.large_tenant(), 'insight', include_deleted => true) $$, 'app.cards', 102
    ),
    '{"rows": "at most 102", "indexes": ["cards_card_type", "cards_pkey"], "is_scanned": false}'::jsonb,
    'the list of a type that most cards are of reads a page from its index'
);
select is(
    tests.reads($$ select api.list_cards(tests.large_tenant(), created_by => 'ada') $$, 'app.cards', 102),
    '{"rows": "at most 102", "indexes": ["cards_created_by", "cards_pkey"], "is_scanned": false}'::jsonb,
    'the list of a maker passes over 20,000 deleted cards in its index'
);
select is(
    tests.reads(
        $$
        select api.list_cards(tests.large_tenant(), source_session_id => '01000000-0000-7000-8000-000000000000')
        $$,
        'app.cards',
        102
    ),
    '{"rows": "at most 102", "indexes": ["cards_pkey", "cards_source_session_id"], "is_scanned": false}'::jsonb,
    'the list of a session reads a page from its index'
);
select is(
    tests.reads(
        $$
        select api.list_cards(tests.large_tenant(), 'voice', '01000000-0000-7000-8000-000000000000', 'ada')
        $$,
        'app.cards',
        102
    ),
    '{"rows": "at most 102", "indexes": ["cards_pkey", "cards_source_session_id"], "is_scanned": false}'::jsonb,
    'of all filters together the session chooses the index'
);
select is(
    tests.reads($$ select api.list_cards(tests.large_tenant(), 'insight', created_by => 'ada') $$, 'app.cards', 102),
    '{"rows": "at most 102", "indexes": ["cards_card_type", "cards_pkey"], "is_scanned": false}'::jsonb,
    'of type and maker the type chooses the index, and 40,000 cards of other makers are passed over in it'
);
select is(
    tests.reads($$ select api.list_cards(tests.large_tenant(), 'voice', "limit" => 1000) $$, 'app.cards', 2002),
    '{"rows": "at most 2002", "indexes": ["cards_card_type", "cards_pkey"], "is_scanned": false}'::jsonb,
    'a page of 1,000 is read as one of 50 is'
);
select is(
    tests.reads($$ select api.list_cards(tests.large_tenant(), "limit" => 1000) $$, 'app.card_usage_totals', 1000),
    '{"rows": "at most 1000", "indexes": ["card_usage_totals_pkey"], "is_scanned": false}'::jsonb,
    'the usage of a page''s cards is read one by one, by the key'
);

-- Depth
select tests.set_tenant(tests.large_tenant());
select is(
    tests.reads(
        $$
        select app.find_cards(
            tests.large_tenant(), null, null, null, null, false, '01000000-0000-7000-8000-000000020000', 51
        )
        $$,
        'app.cards',
        52
    ),
    '{"rows": "at most 52", "indexes": ["cards_active"], "is_scanned": false}'::jsonb,
    'a page deep in the list of active cards reads no more than the first'
);
select is(
    tests.reads(
        $$
        select app.find_cards(
            tests.large_tenant(), 'voice', null, null, null, false, '01000000-0000-7000-8000-000000000500', 51
        )
        $$,
        'app.cards',
        52
    ),
    '{"rows": "at most 52", "indexes": ["cards_card_type"], "is_scanned": false}'::jsonb,
    'a page deep in the list of a type reads no more than the first'
);
select is(
    tests.reads(
        $$
        select app.find_cards(
            tests.large_tenant(), null, null, 'ada', null, true, '01000000-0000-7000-8000-000000000500', 51
        )
        $$,
        'app.cards',
        52
    ),
    '{"rows": "at most 52", "indexes": ["cards_created_by"], "is_scanned": false}'::jsonb,
    'a page deep in the list of a maker reads no more than the first'
);

-- What contains finds
select is(
    tests.reads($$ select api.list_cards(tests.large_tenant(), contains => '{"language": "en"}') $$, 'app.cards', 102),
    '{"rows": "at most 102", "indexes": ["cards_active", "cards_pkey"], "is_scanned": false}'::jsonb,
    'a content that every card has is found without the index on content, and without a sort'
);
select is(
    tests.reads(
        $$
        select app.find_cards(
            tests.large_tenant(), null, null, null, '{"language": "en"}', false, '01000000-0000-7000-8000-000000020000', 51
        )
        $$,
        'app.cards',
        52
    ),
    '{"rows": "at most 52", "indexes": ["cards_active"], "is_scanned": false}'::jsonb,
    'a content that every card has is found at any depth alike'
);
select is(
    tests.reads(
        $$
        select app.find_cards(
            tests.large_tenant(), null, null, null, '{"language": "en"}', false, '01000000-0000-7000-8000-000000000020', 51
        )
        $$,
        'app.cards',
        40
    ),
    '{"rows": "at most 40", "indexes": ["cards_active"], "is_scanned": false}'::jsonb,
    'the last page of what every card has reads to the end of the list, and nothing else'
);
select is(
    tests.reads(
        $$ select api.list_cards(tests.large_tenant(), contains => '{"rare": true}') $$, 'app.cards', 2 * 5100 + 10
    ),
    '{"rows": "at most 10210", "indexes": ["cards_active", "cards_content", "cards_pkey"], "is_scanned": false}'::jsonb,
    'a rare content is found by the index on content, after a hundred candidates for each card asked for'
);
select is(
    tests.reads(
        $$ select api.list_cards(tests.large_tenant(), 'insight', contains => '{"rare": true}') $$,
        'app.cards',
        2 * 5100 + 10
    ),
    '{
        "rows": "at most 10210",
        "indexes": ["cards_card_type", "cards_content", "cards_pkey"],
        "is_scanned": false
    }'::jsonb,
    'a rare content is found by the index on content beside other filters, too'
);
select is(
    tests.reads(
        $$ select app.count_cards(tests.large_tenant(), null, null, null, '{"rare": true}', false) $$, 'app.cards', 5
    ),
    '{"rows": "at most 5", "indexes": ["cards_content"], "is_scanned": false}'::jsonb,
    'a rare content is counted by the index on content'
);
select is(
    tests.reads(
        $$
        select app.count_cards(tests.large_tenant(), null, '01000000-0000-7000-8000-000000000000', null, null, false)
        $$,
        'app.cards',
        100
    ),
    '{"rows": "at most 100", "indexes": ["cards_source_session_id"], "is_scanned": false}'::jsonb,
    'a session''s cards are counted by its index'
);
select tests.set_tenant(null);

-- History
select is(
    tests.reads(
        $$ select api.list_usage(tests.large_tenant(), '01000000-0000-7000-8000-000000000001') $$, 'app.card_usage', 52
    ),
    '{"rows": "at most 52", "indexes": ["card_usage_pkey"], "is_scanned": false}'::jsonb,
    'a history of 20,000 events reads a page from the key'
);
select is(
    tests.reads(
        $$ select api.list_usage(tests.large_tenant(), '01000000-0000-7000-8000-000000000001', 1000) $$,
        'app.card_usage',
        1002
    ),
    '{"rows": "at most 1002", "indexes": ["card_usage_pkey"], "is_scanned": false}'::jsonb,
    'a page of 1,000 events is read as one of 50 is'
);
select is(
    tests.reads(
        $$
        select api.list_usage(
            tests.large_tenant(),
            '01000000-0000-7000-8000-000000000001',
            50,
            app.encode_cursor(
                app.request_fingerprint(
                    'list_usage', jsonb_build_array(tests.large_tenant(), '01000000-0000-7000-8000-000000000001')
                ),
                '00e00000-0000-7000-8000-000000000100'
            )
        )
        $$,
        'app.card_usage',
        52
    ),
    '{"rows": "at most 52", "indexes": ["card_usage_pkey"], "is_scanned": false}'::jsonb,
    'a page deep in a history reads no more than the first'
);

-- The plans themselves
select tests.set_tenant(tests.large_tenant());
create temporary table plan as
select
    line.name,
    tests.plan_of(line.function, line.beginning, line.arguments) as plan
from (
    values
    (
        'all', 'app.find_cards'::regproc, 'with candidate',
        $$ tests.large_tenant(), null, null, null, null, false, '01000000-0000-7000-8000-000000020000', 51 $$
    ),
    (
        'type', 'app.find_cards', 'with candidate',
        $$ tests.large_tenant(), 'insight', null, null, null, false, '01000000-0000-7000-8000-000000099000', 1001 $$
    ),
    (
        'contains', 'app.find_cards', 'with match',
        $$
        tests.large_tenant(), 'insight', null, 'ada', '{"rare": true}', false, '01000000-0000-7000-8000-000000099000', 51
        $$
    )
) as line (name, function, beginning, arguments);
select is(
    (
        select tests.indexes_of(plan) from plan
        where name = 'all'
    ),
    array['cards_active'],
    'the plan for the list of active cards has their index'
);
select is_empty(
    $$
    select jsonb_path_query(plan, 'strict $.** ? (@."Node Type" == "Sort").Plans[*] ? (@."Node Type" != "CTE Scan")')
    from plan
    $$,
    'no plan sorts more than the ids of a page, or of what a rare content is in'
);
select is(
    (
        select tests.indexes_of(plan) from plan
        where name = 'type'
    ),
    array['cards_card_type'],
    'the plan for a type has its index, also for a page longer than the planner thinks its list is'
);
select ok(
    (
        select not tests.has_node(plan, 'Bitmap Heap Scan') from plan
        where name = 'type'
    ),
    'the plan for a type reads the index in its order'
);
select is(
    (
        select tests.indexes_of(plan) from plan
        where name = 'contains'
    ),
    array['cards_content'],
    'the plan for a rare content has the index on content, whatever else is filtered'
);
reset role;
select is_empty(
    $$
    select name
    from plan
    where tests.has_node(plan, 'Seq Scan')
    $$,
    'no plan reads the table through'
);

select * from finish();
rollback;
