-- What somebody might try who has taken over a role that logs in. Tables, functions and roles come from the catalog, so
-- that a new one is attacked, too.
begin;
\ir helpers/tests.psql

create temporary table attack as
with tables as (
    select
        pg_class.oid::regclass::text as name,
        pg_attribute.attname as first_column
    from pg_class
    inner join pg_namespace on pg_class.relnamespace = pg_namespace.oid
    inner join pg_attribute on pg_class.oid = pg_attribute.attrelid and pg_attribute.attnum = 1
    where pg_namespace.nspname in ('app', 'deployment') and pg_class.relkind in ('r', 'p')
),

functions as (
    select
        pg_proc.oid::regprocedure::text as name,
        pg_namespace.nspname as schema_name,
        has_function_privilege('cardbase_worker', pg_proc.oid, 'execute') as is_the_workers,
        format(
            'select %I.%I(%s)',
            pg_namespace.nspname,
            pg_proc.proname,
            (
                select string_agg('null::' || format_type(argument.type, null), ', ' order by argument.position)
                from unnest(pg_proc.proargtypes::oid[]) with ordinality as argument (type, position)
            )
        ) as call
    from pg_proc
    inner join pg_namespace on pg_proc.pronamespace = pg_namespace.oid
    where pg_namespace.nspname in ('app', 'api')
)

select
    format('%s %s', command.title, tables.name) as title,
    format(command.template, tables.name, tables.first_column) as statement
from tables
cross join (
    values
    ('read', 'select from %1$s'),
    ('count', 'select count(*) from %1$s'),
    ('explain the reading of', 'explain select from %1$s'),
    ('explain and read', 'explain analyze select from %1$s'),
    ('read a column of', 'select %2$I from %1$s'),
    ('read by cursor', 'declare stolen cursor for select from %1$s'),
    ('read for update', 'select from %1$s for update'),
    ('read into a table of its own', 'create temporary table stolen as select from %1$s'),
    ('read by a view of', 'create temporary view stolen as select from %1$s; select from stolen'),
    ('lock', 'lock table %1$s in access share mode'),
    ('add to', 'insert into %1$s default values'),
    ('change', 'update %1$s set %2$I = %2$I'),
    ('change unseen', 'update %1$s set %2$I = null'),
    ('delete from', 'delete from %1$s'),
    ('merge into', 'merge into %1$s as target using (select 1) as source on true when matched then delete'),
    ('empty', 'truncate %1$s cascade'),
    ('copy into a file', 'copy %1$s to ''/dev/null'''),
    ('copy into a program', 'copy %1$s to program ''true'''),
    ('copy from a program', 'copy %1$s from program ''true'''),
    ('disable row-level security of', 'alter table %1$s disable row level security'),
    ('stop forcing row-level security of', 'alter table %1$s no force row level security'),
    ('take over', 'alter table %1$s owner to current_user'),
    ('drop', 'drop table %1$s cascade'),
    ('add a policy to', 'create policy planted on %1$s using (true)'),
    ('add an index to', 'create index planted on %1$s ((true))'),
    ('add a rule to', 'create rule planted as on insert to %1$s do instead nothing'),
    (
        'add a trigger to',
        'create trigger planted before update on %1$s execute function suppress_redundant_updates_trigger()'
    ),
    ('inherit from', 'create temporary table planted () inherits (%1$s)'),
    ('grant itself', 'grant select on %1$s to current_user')
) as command (title, template)
union all
select
    'call ' || functions.name,
    functions.call
from functions
where functions.schema_name = 'app' and not functions.is_the_workers
union all
select
    'change ' || functions.name,
    format('alter function %s cost 1', functions.name)
from functions
union all
select
    'become ' || pg_roles.rolname,
    format('set local role %I', pg_roles.rolname)
from pg_roles
where not pg_roles.rolcanlogin or pg_roles.rolsuper
union all
select
    attempt.title,
    attempt.statement
from (
    values
    ('make itself a superuser', 'alter role current_user superuser'),
    ('free itself from policies', 'alter role current_user bypassrls'),
    ('join the functions'' role', 'grant cardbase_api to current_user'),
    ('make a role', 'create role planted'),
    ('make a schema', 'create schema planted'),
    ('make a function in api', 'create function api.planted() returns integer language sql return 1'),
    ('make a function in app', 'create function app.planted() returns integer language sql return 1'),
    ('make a function in public', 'create function public.planted() returns integer language sql return 1'),
    ('make a table in public', 'create table public.planted (id integer)'),
    ('make a table in api', 'create table api.planted (id integer)'),
    (
        'make an operator in public',
        'create operator public.=== (leftarg = uuid, rightarg = uuid, function = uuid_eq)'
    ),
    ('make a cast', 'create cast (jsonb as uuid) with inout'),
    ('make an extension', 'create extension file_fdw'),
    ('make a function in C', 'create function pg_temp.planted() returns integer language c as ''libc'', ''system'''),
    (
        'make an event trigger',
        'create event trigger planted on ddl_command_end execute function suppress_redundant_updates_trigger()'
    ),
    ('take over schema app', 'alter schema app owner to current_user'),
    ('drop schema api', 'drop schema api cascade'),
    ('switch triggers and keys off', 'set local session_replication_role = replica'),
    ('load a library', 'load ''/tmp/planted'''),
    ('read a file', 'select pg_read_file(''/etc/passwd'')'),
    ('list a folder', 'select pg_ls_dir(''/'')'),
    ('import a file', 'select lo_import(''/etc/passwd'')'),
    ('run a program', 'copy (select 1) to program ''true'''),
    ('write a file', 'copy (select 1) to ''/dev/null'''),
    ('read the roles'' passwords', 'select rolpassword from pg_authid'),
    ('read the rules of logging in', 'select * from pg_hba_file_rules'),
    ('read the samples that the planner keeps', 'select * from pg_statistic'),
    ('read where the data lies', 'show data_directory'),
    ('have the server read its configuration', 'select pg_reload_conf()'),
    ('rotate the server''s log', 'select pg_rotate_logfile()'),
    ('make a checkpoint', 'checkpoint '),
    ('replay what was written', 'select pg_logical_slot_get_changes(''planted'', null, null)')
) as attempt (title, statement);
grant select on attack to public;

select plan((3 * (select count(*) from attack))::integer);

set local session authorization cardbase_gateway;
select throws_ok(attack.statement, '42501', null, 'the gateway can''t ' || attack.title)
from attack;

set local session authorization cardbase_service;
select throws_ok(attack.statement, '42501', null, 'a service can''t ' || attack.title)
from attack;

set local session authorization cardbase_worker;
select throws_ok(attack.statement, '42501', null, 'a worker can''t ' || attack.title)
from attack;

reset session authorization;
select * from finish();
rollback;
