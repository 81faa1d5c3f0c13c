begin;
\ir helpers/tests.psql
select plan(27);

-- Roles

select set_eq(
    $$ select rolname from pg_roles where rolname like 'cardbase\_%' $$,
    array[
        'cardbase_owner', 'cardbase_api', 'cardbase_maintenance', 'cardbase_finder', 'cardbase_authenticator',
        'cardbase_dispatcher', 'cardbase_gateway', 'cardbase_service', 'cardbase_worker'
    ],
    'these are the roles'
);
select is_empty(
    $$
    select rolname
    from pg_roles
    where rolname like 'cardbase\_%'
        and (rolsuper or rolbypassrls or rolcreatedb or rolcreaterole or rolreplication)
    $$,
    'no role has a power over the cluster or past row-level security'
);
select set_eq(
    $$ select rolname from pg_roles where rolname like 'cardbase\_%' and rolcanlogin $$,
    array['cardbase_gateway', 'cardbase_service', 'cardbase_worker'],
    'gateway, services and workers log in, and nobody else'
);
select set_eq(
    $$ select rolname from pg_roles where rolname like 'cardbase\_%' and not rolinherit $$,
    array['cardbase_gateway', 'cardbase_service', 'cardbase_worker'],
    'a login role inherits nothing'
);
select set_eq(
    $$
    select
        role.rolname::text as granted,
        member.rolname::text as member
    from pg_auth_members as membership
    join pg_roles as role on role.oid = membership.roleid
    join pg_roles as member on member.oid = membership.member
    where member.rolname like 'cardbase\_%'
    $$,
    $$ values
    ('cardbase_api', 'cardbase_owner'),
    ('cardbase_maintenance', 'cardbase_owner'),
    ('cardbase_finder', 'cardbase_owner'),
    ('cardbase_authenticator', 'cardbase_owner'),
    ('cardbase_dispatcher', 'cardbase_owner')
    $$,
    'only the owner is a member of other roles, of those that functions run as'
);

-- Schemas

select schema_owner_is('app', 'cardbase_owner', 'cardbase_owner owns schema app');
select schema_owner_is('api', 'cardbase_owner', 'cardbase_owner owns schema api');
select hasnt_schema('queue', 'the schema of PgQueuer, which older versions used, is gone');
select schema_owner_is('deployment', 'cardbase_owner', 'cardbase_owner owns schema deployment');

select set_eq(
    $$
    select
        schema.nspname::text,
        coalesce(role.rolname, 'public')::text as grantee,
        acl.privilege_type,
        acl.is_grantable
    from pg_namespace as schema
    cross join aclexplode(schema.nspacl) as acl
    left join pg_roles as role on role.oid = acl.grantee
    where schema.nspname in ('app', 'api', 'deployment') and acl.grantee <> schema.nspowner
    $$,
    $$ values
    ('api', 'cardbase_gateway', 'USAGE', false),
    ('api', 'cardbase_service', 'USAGE', false),
    ('api', 'cardbase_worker', 'USAGE', false),
    ('api', 'cardbase_api', 'USAGE', false),
    ('api', 'cardbase_maintenance', 'USAGE', false),
    ('api', 'cardbase_finder', 'USAGE', false),
    ('api', 'cardbase_authenticator', 'USAGE', false),
    ('api', 'cardbase_dispatcher', 'USAGE', false),
    ('app', 'cardbase_api', 'USAGE', false),
    ('app', 'cardbase_maintenance', 'USAGE', false),
    ('app', 'cardbase_finder', 'USAGE', false),
    ('app', 'cardbase_authenticator', 'USAGE', false),
    ('app', 'cardbase_dispatcher', 'USAGE', false),
    ('app', 'cardbase_worker', 'USAGE', false),
    ('deployment', 'cardbase_api', 'USAGE', false),
    ('deployment', 'cardbase_maintenance', 'USAGE', false)
    $$,
    'who may look into a schema is on this list'
);
select schema_privs_are('app', 'cardbase_gateway', array[]::text[], 'schema app is closed to the gateway');
select schema_privs_are('app', 'cardbase_service', array[]::text[], 'schema app is closed to services');
select schema_privs_are('app', 'cardbase_worker', array['USAGE'], 'workers make nothing in schema app');
select schema_privs_are('api', 'cardbase_gateway', array['USAGE'], 'the gateway makes nothing in schema api');
select schema_privs_are('api', 'cardbase_service', array['USAGE'], 'services make nothing in schema api');
select schema_privs_are('api', 'cardbase_worker', array['USAGE'], 'workers make nothing in schema api');
select schema_privs_are('api', 'cardbase_api', array['USAGE'], 'cardbase_api makes nothing in schema api');
select schema_privs_are('app', 'cardbase_api', array['USAGE'], 'cardbase_api makes nothing in schema app');
select schema_privs_are('deployment', 'cardbase_gateway', array[]::text[], 'the ledger is closed to the gateway');

-- What will be made

set local role cardbase_owner;
create function app.made_by_the_owner() returns integer language sql immutable return 1;
create function api.made_by_the_owner() returns integer language sql immutable return 1;
create table app.made_by_the_owner (value integer);
reset role;

select ok(
    not has_function_privilege('public', 'app.made_by_the_owner()', 'execute'),
    'a new function in app is not for everybody'
);
select ok(
    not has_function_privilege('public', 'api.made_by_the_owner()', 'execute'),
    'a new function in api is not for everybody'
);
select function_privs_are(
    'api', 'made_by_the_owner', array[]::text[], 'cardbase_gateway', array[]::text[],
    'a new function in api is not for the gateway before it is granted'
);
select table_privs_are(
    'app', 'made_by_the_owner', 'cardbase_api', array[]::text[],
    'a new table is not for cardbase_api before it is granted'
);

-- What there is

select is_empty(
    $$
    select routine.oid::regprocedure
    from pg_proc as routine
    where routine.pronamespace in ('app'::regnamespace, 'api'::regnamespace)
        and has_function_privilege('public', routine.oid, 'execute')
    $$,
    'no function in app or api is for everybody'
);
select is_empty(
    $$
    select relation.oid::regclass
    from pg_class as relation
    cross join unnest(array['cardbase_gateway', 'cardbase_service']) as role
    where relation.relnamespace in ('app'::regnamespace, 'deployment'::regnamespace)
        and relation.relkind in ('r', 'p', 'v', 'm', 'f')
        and has_table_privilege(role, relation.oid, 'select, insert, update, delete, truncate, references, trigger')
    $$,
    'the gateway and services have no right on any table'
);
select is_empty(
    $$
    select relation.oid::regclass
    from pg_class as relation
    where relation.relnamespace = 'app'::regnamespace
        and relation.relkind in ('r', 'p')
        and relation.relname <> 'made_by_the_owner'
        and not (relation.relrowsecurity and relation.relforcerowsecurity)
    $$,
    'every table in app has row-level security, enabled and forced'
);
select is_empty(
    $$
    select relation.oid::regclass
    from pg_class as relation
    where relation.relnamespace in ('app'::regnamespace, 'api'::regnamespace, 'deployment'::regnamespace)
        and relation.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
        and relation.relowner <> 'cardbase_owner'::regrole
    $$,
    'cardbase_owner owns every table'
);

select * from finish();
rollback;
