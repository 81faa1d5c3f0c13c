begin;
select plan(24);

create type api.color as enum ('red', 'green');
create domain api.percent as integer check (value between 0 and 100);
create type api.point as (x integer, y integer);

create function api.t_plain(a integer, b text default 'x') returns integer language sql immutable as 'select 1';
comment on function api.t_plain(integer, text) is E'Says one.\n\nAlways.';
create function api.t_void() returns void language sql volatile set statement_timeout = '2min' as 'select 1';
create function api.t_table(n api.percent) returns table (a api.color, b integer[])
language sql stable set statement_timeout = '250' as 'select null::api.color, null::integer []';
create function api.t_points() returns setof api.point language sql stable as 'select 1, 2';
create function api.t_out(inout a integer, out b api.point, c jsonb default '{}')
language sql stable as 'select a, null::api.point';
create function api.t_record() returns record language sql stable as 'select 1, 2';
create function api.t_reply() returns api.reply language sql stable as 'select null::api.reply';
create function api.t_variadic(variadic words text[]) returns text language sql stable as 'select null::text';
create function api.t_unnamed(json) returns json language sql stable as 'select $1';
create function api.t_twice(a integer) returns integer language sql stable as 'select 1';
create function api.t_twice(a text) returns integer language sql stable as 'select 1';

create function api.t_internal() returns integer language sql stable as 'select 1';
comment on function api.t_internal() is E'Not for callers of /rpc.\n\n@internal\nIndeed not.';
create function api.t_not_internal() returns integer language sql stable as 'select 1';
comment on function api.t_not_internal() is 'Speaks of @internal in the midst of a line.';
create function api.t_forbidden() returns integer language sql stable as 'select 1';
revoke all on function api.t_forbidden() from public;
create function api.t_polymorphic(a anyelement) returns integer language sql stable as 'select 1';
create function api.t_trigger() returns trigger language plpgsql as 'begin return new; end';
create procedure api.t_procedure() language sql as 'select 1';
create aggregate api.t_aggregate (integer)(sfunc = int4pl, stype = integer);
create function api.t_definer() returns bigint language sql stable security definer as 'select 1';
alter function api.t_definer() owner to cardbase_api;
create function api.t_superuser() returns bigint
language sql stable security definer as 'select count(*) from app.cards';
create role t_bypasser bypassrls;
create function api.t_bypasser() returns bigint
language sql stable security definer as 'select count(*) from app.cards';
alter function api.t_bypasser() owner to t_bypasser;
create function app.t_private() returns integer language sql stable as 'select 1';

create function tests_function(name text)
returns jsonb
language sql
stable
as $$
    select function
    from jsonb_array_elements(api.catalog() -> 'functions') as function
    where function ->> 'name' = tests_function.name
    limit 1
$$;

select is(
    (api.catalog() ->> 'version')::bigint, api.catalog_version(), 'the catalog tells the version that it is of'
);
select set_eq(
    $$
    select distinct function ->> 'name'
    from jsonb_array_elements(api.catalog() -> 'functions') as function
    where function ->> 'name' like 't\_%'
    $$,
    array[
        't_plain', 't_void', 't_table', 't_points', 't_out', 't_record', 't_reply', 't_variadic', 't_unnamed',
        't_twice', 't_not_internal', 't_definer'
    ],
    'there is what the gateway may execute: nothing internal, no procedures, no pseudo-types, no other schemas, '
    'no definer past row-level security'
);
select ok(
    not exists (
        select
        from jsonb_array_elements(api.catalog() -> 'functions') as function
        where
            function ->> 'name' in (
                'catalog', 'catalog_version', 'as_csv', 'claim_request', 'remember_request', 'get_health'
            )
    ),
    'what serves the gateway itself is internal'
);

select is(
    tests_function('t_plain'),
    '{
        "name": "t_plain",
        "comment": "Says one.\n\nAlways.",
        "is_volatile": false,
        "kind": "scalar",
        "is_set": false,
        "type": {"name": "integer", "kind": "scalar", "base": "integer", "labels": []},
        "columns": [],
        "timeout_ms": null,
        "parameters": [
            {
                "name": "a",
                "type": {"name": "integer", "kind": "scalar", "base": "integer", "labels": []},
                "is_required": true,
                "is_variadic": false,
                "default": null
            },
            {
                "name": "b",
                "type": {"name": "text", "kind": "scalar", "base": "text", "labels": []},
                "is_required": false,
                "is_variadic": false,
                "default": "''x''::text"
            }
        ]
    }'::jsonb,
    'a function has its name, comment, answer and parameters'
);
select is(tests_function('t_void') ->> 'kind', 'void', 'a function may answer nothing');
select is(tests_function('t_void') ->> 'is_volatile', 'true', 'whether it may write is told');
select is(tests_function('t_void') -> 'timeout_ms', '120000', 'its own time limit is told in milliseconds');
select is(tests_function('t_table') -> 'timeout_ms', '250', 'a limit without a unit is in milliseconds');
select is(tests_function('t_plain') ->> 'comment', E'Says one.\n\nAlways.', 'the comment is told as it is');
select is(tests_function('t_void') ->> 'comment', '', 'without a comment there is an empty one');
select is(
    array[tests_function('t_table') ->> 'kind', tests_function('t_table') ->> 'is_set'],
    array['row', 'true'],
    'a table is a set of rows'
);
select is(
    tests_function('t_table') -> 'columns',
    '[
        {"name": "a", "type": {"name": "api.color", "kind": "scalar", "base": "api.color", "labels": ["red", "green"]}},
        {"name": "b", "type": {"name": "integer[]", "kind": "array", "base": "integer[]", "labels": []}}
    ]'::jsonb,
    'columns have their types, and enums their labels in order'
);
select is(
    tests_function('t_table') #> '{parameters, 0, type}',
    '{"name": "api.percent", "kind": "scalar", "base": "integer", "labels": []}'::jsonb,
    'beneath a domain is its base'
);
select is(
    jsonb_path_query_array(tests_function('t_points'), '$.columns[*].name'),
    '["x", "y"]',
    'the columns of a composite type are its attributes'
);
select is(
    array[tests_function('t_points') ->> 'kind', tests_function('t_points') ->> 'is_set'],
    array['row', 'true'],
    'a set of a composite type is a set of rows'
);
select is(
    jsonb_path_query_array(tests_function('t_out'), '$.columns[*].name'),
    '["a", "b"]',
    'what goes out makes up the columns'
);
select is(
    jsonb_path_query_array(tests_function('t_out'), '$.parameters[*].name'),
    '["a", "c"]',
    'what goes in makes up the parameters'
);
select is(
    jsonb_path_query_array(tests_function('t_out'), '$.parameters[*].is_required'),
    '[true, false]',
    'defaults belong to the last of what goes in, whatever goes out between'
);
select is(tests_function('t_out') #>> '{parameters, 1, type, kind}', 'json', 'jsonb is JSON');
select is(tests_function('t_record') ->> 'kind', 'record', 'a record without named columns is told apart');
select is(tests_function('t_reply') ->> 'kind', 'reply', 'so is a product function');
select is(
    array[
        tests_function('t_variadic') #>> '{parameters, 0, is_variadic}',
        tests_function('t_unnamed') #>> '{parameters, 0, name}'
    ],
    array['true', ''],
    'a parameter may collect, and may be without a name'
);
select is(
    (
        select count(*)
        from jsonb_array_elements(api.catalog() -> 'functions') as function
        where function ->> 'name' = 't_twice'
    ),
    2::bigint,
    'each overload is a function of its own'
);

set local role cardbase_gateway;
select lives_ok('select api.catalog()', 'the gateway may read the catalog');

select * from finish();
rollback;
