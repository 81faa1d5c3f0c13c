begin;
\ir helpers/tests.psql
select plan(33);

-- A tenant with 100,000 cards beside one with 20,000. What a filter finds is among the oldest, where a walk through all
-- newer cards would be dear: 10,000 voices, 60,000 made by ada, a session of 1,000, five rare ones; 20,000 in the
-- middle are deleted.
insert into app.cards (tenant_id, card_id, card_type, content, source_session_id, created_by, deleted_at)
select
    tests.tenant('acme'),
    ('01000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid,
    case when n <= 10000 then 'voice' else 'insight' end,
    jsonb_build_object('n', n, 'language', 'en', 'rare', n % 20000 = 1 and n <= 100000),
    case when n <= 1000 then '01000000-0000-7000-8000-000000000000'::uuid when n % 7 = 0 then gen_random_uuid() end,
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
from app.cards as card;
-- 20,000 events of one card, one each of the others of its tenant.
insert into app.card_usage (tenant_id, card_id, usage_id)
select
    tests.tenant('acme'),
    ('01000000-0000-7000-8000-' || lpad(greatest(n - 20000, 1)::text, 12, '0'))::uuid,
    ('00e00000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid
from generate_series(1, 40000) as n;
analyze app.cards;
analyze app.card_usage_totals;
analyze app.card_usage;

-- What a call reads, by the server's own count: the rows, or entries of an index, that scans of the table gave.
--   statement   the call
--   relation    the table
-- Answers {"rows", "indexes": [those used, by name], "is_scanned": whether the table itself was read through}.
create function tests.reads(statement text, relation regclass)
returns jsonb
language plpgsql
as $$
declare
    _before jsonb;
    _after jsonb;
begin
    _before := tests.counters(reads.relation);
    execute reads.statement;
    _after := tests.counters(reads.relation);
    return (
        select jsonb_build_object(
            'rows', sum((_after -> counted.name ->> 'rows')::bigint - (_before -> counted.name ->> 'rows')::bigint),
            'indexes', jsonb_agg(counted.name order by counted.name) filter (
                where counted.name <> ''
                and (_after -> counted.name ->> 'scans')::bigint > (_before -> counted.name ->> 'scans')::bigint
            ),
            'is_scanned', (_after -> '' ->> 'scans')::bigint > (_before -> '' ->> 'scans')::bigint
        )
        from jsonb_object_keys(_after) as counted (name)
    );
end;
$$;
create function tests.counters(relation regclass)
returns jsonb
language sql
volatile
return (
    select jsonb_object_agg(
        counted.name,
        jsonb_build_object(
            'scans', pg_stat_get_xact_numscans(counted.id), 'rows', pg_stat_get_xact_tuples_returned(counted.id)
        )
    )
    from (
        select
            counters.relation::oid as id,
            '' as name
        union all
        select
            index.indexrelid,
            (select class.relname from pg_class as class where class.oid = index.indexrelid)
        from pg_index as index
        where index.indrelid = counters.relation
    ) as counted
);

-- The plan of a statement of a function, as the function has it planned: its text, settings, role and tenant.
--   function    the function
--   beginning   how the statement begins; it goes on to its semicolon
--   arguments   the function's arguments, as SQL, in their order
-- Answers explain's JSON.
create function tests.plan_of(function regproc, beginning text, arguments text)
returns jsonb
language plpgsql
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

    foreach _setting in array _function.proconfig loop
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
returns text []
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
