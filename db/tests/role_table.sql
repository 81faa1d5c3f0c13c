-- db/README.md shows who may do what, line by line as the catalog has it. To be run from the repository's root.
begin;
select plan(10);

\set readme `cat db/README.md`

create temporary table written as
select btrim(line) as line
from regexp_split_to_table(:'readme', E'\n') as line
where
    line like '| %'
    -- Where there is no pgvector, it is not there.
    and (line not like '| `app.memory\_embeddings` |%' or to_regclass('app.memory_embeddings') is not null);

-- Each line as it has to stand there.
create temporary view ours as
select
    pg_namespace.oid,
    pg_namespace.nspname
from pg_namespace
where pg_namespace.nspname in ('app', 'api');

create temporary view role_lines as
select
    format(
        '| `%s` | %s | %s | %s |',
        role.rolname,
        case when role.rolcanlogin then 'yes' else 'no' end,
        coalesce(
            (
                select string_agg(format('`%s`', granted.rolname), ', ' order by granted.rolname)
                from pg_auth_members as membership
                inner join pg_roles as granted on membership.roleid = granted.oid
                where membership.member = role.oid
            ),
            '–'
        ),
        coalesce(
            (
                select string_agg(format('`%s`', ours.nspname), ', ' order by ours.nspname)
                from ours
                where has_schema_privilege(role.oid, ours.oid, 'usage')
            ),
            '–'
        )
    ) as line
from pg_roles as role
where role.rolname like 'cardbase\_%';

create temporary view function_groups as
with functions as (
    select
        ours.nspname as schema_name,
        pg_proc.proname as name,
        pg_proc.prosecdef as is_definer,
        pg_proc.proowner::regrole::text as owner_name,
        coalesce(
            (
                select
                    string_agg(
                        case when acl.grantee = 0 then 'everybody' else format('`%s`', acl.grantee::regrole) end,
                        ', '
                        order by case when acl.grantee = 0 then '' else acl.grantee::regrole::text end
                    )
                from aclexplode(coalesce(pg_proc.proacl, acldefault('f', pg_proc.proowner))) as acl
                where acl.grantee <> pg_proc.proowner
            ),
            '–'
        ) as callers
    from pg_proc
    inner join ours on pg_proc.pronamespace = ours.oid
)

select
    functions.schema_name,
    functions.owner_name,
    functions.is_definer,
    functions.callers,
    array_agg(format('`%s`', functions.name) order by functions.name) as names,
    row_number() over (
        partition by functions.schema_name
        order by -count(*), functions.owner_name, functions.is_definer, functions.callers
    ) = 1 as is_largest
from functions
group by functions.schema_name, functions.owner_name, functions.is_definer, functions.callers;

create temporary view function_lines as
select
    format(
        '| `%s`: %s | `%s` | %s | %s |',
        function_groups.schema_name,
        case
            when not function_groups.is_largest then array_to_string(function_groups.names, ', ')
            when count(*) over (partition by function_groups.schema_name) = 1 then 'all'
            else 'all others'
        end,
        function_groups.owner_name,
        case when function_groups.is_definer then 'owner' else 'caller' end,
        function_groups.callers
    ) as line
from function_groups;

create temporary view table_lines as
with granted as (
    select
        pg_class.oid,
        acl.grantee,
        lower(acl.privilege_type) as privilege,
        null as columns
    from pg_class
    inner join ours on pg_class.relnamespace = ours.oid
    cross join aclexplode(pg_class.relacl) as acl
    where pg_class.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and acl.grantee <> pg_class.relowner
    union all
    select
        pg_class.oid,
        acl.grantee,
        lower(acl.privilege_type),
        string_agg(pg_attribute.attname, ', ' order by pg_attribute.attname)
    from pg_class
    inner join ours on pg_class.relnamespace = ours.oid
    inner join pg_attribute on pg_class.oid = pg_attribute.attrelid
    cross join aclexplode(pg_attribute.attacl) as acl
    where acl.grantee <> pg_class.relowner
    group by pg_class.oid, acl.grantee, acl.privilege_type
),

by_role as (
    select
        granted.oid,
        case when granted.grantee = 0 then 'everybody' else format('`%s`', granted.grantee::regrole) end as role_name,
        string_agg(
            concat(granted.privilege, ' (' || granted.columns || ')'),
            ', '
            order by array_position(array['select', 'insert', 'update', 'delete'], granted.privilege), granted.privilege
        ) as privileges
    from granted
    group by granted.oid, granted.grantee
)

select
    format(
        '| `%s.%s` | %s | %s | %s |',
        ours.nspname,
        pg_class.relname,
        case when pg_class.relrowsecurity and pg_class.relforcerowsecurity then 'forced' else 'off' end,
        by_role.role_name,
        by_role.privileges
    ) as line
from pg_class
inner join ours on pg_class.relnamespace = ours.oid
left join by_role on pg_class.oid = by_role.oid
-- A sequence of which nobody has any privilege is a part of its table.
where pg_class.relkind in ('r', 'p', 'v', 'm', 'f') or (pg_class.relkind = 'S' and by_role.oid is not null);

create temporary table lines as
select role_lines.line
from role_lines
union all
select function_lines.line
from function_lines
union all
select table_lines.line
from table_lines;

select isnt_empty('select line from written', 'the table is found: these tests run from the repository''s root');
select is_empty(
    'select line from lines except select line from written',
    'every line that the catalog asks for stands in db/README.md'
);
select is_empty(
    $$
    select line
    from written
    where
        line ~ '^\| `(cardbase_|app|api)'
        -- It is there only where the server has pgvector.
        and (line not like '| `app.memory\_embeddings` |%' or to_regclass('app.memory_embeddings') is not null)
    except
    select line
    from lines
    $$,
    'db/README.md has no line that the catalog does not ask for'
);

-- What the table may never come to say

select is_empty(
    $$ select line from lines where line like '%everybody%' $$, 'no line is about everybody (PUBLIC)'
);
select is_empty(
    $$ select line from table_lines where line not like '| `app.%| forced |%' $$,
    'every table is in schema app, under forced row-level security'
);
select is_empty(
    $$ select line from table_lines where line ~ 'cardbase_(gateway|service|worker)' $$,
    'no role that logs in has a table'
);
select is_empty(
    $$
    select names
    from function_groups
    where
        is_definer
        and (
            owner_name = 'cardbase_owner'
            or owner_name not in (select rolname from pg_roles where rolname like 'cardbase\_%' and not rolcanlogin)
            or exists (select from pg_class where pg_class.relowner = owner_name::regrole)
        )
    $$,
    'functions that run as their owner run as a role that doesn''t log in and owns functions only'
);
select is_empty(
    $$
    select names
    from function_groups
    where schema_name = 'api' and callers !~ '^`cardbase_(gateway|service|worker)`'
    $$,
    'no function is in schema api that no role needs'
);
select is_empty(
    $$
    select names
    from function_groups
    where schema_name = 'api' and callers ~ 'cardbase_(api|owner|finder|maintenance)'
    $$,
    'no function of schema api is called by another function'
);
select is_empty(
    $$
    select pg_proc.oid::regprocedure
    from pg_proc
    inner join ours on pg_proc.pronamespace = ours.oid
    where
        (pg_proc.prosqlbody is null or pg_proc.prosecdef)
        and not coalesce('search_path=pg_catalog, pg_temp' = any(pg_proc.proconfig), false)
    $$,
    'every function whose names are looked up when it runs has its search_path pinned'
);

select * from finish();
rollback;
