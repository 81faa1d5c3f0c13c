-- The schemas, who may use them, and the ledger of deploys. What differs is corrected, nothing else is touched.
do $do$
declare
    _schema text;
    _owner text;
begin
    foreach _schema in array array['app', 'api', 'deployment'] loop
        select pg_get_userbyid(pg_namespace.nspowner)
        into _owner
        from pg_namespace
        where pg_namespace.nspname = _schema;

        if not found then
            execute format('create schema %I authorization cardbase_owner', _schema);
            raise info 'schema %: created', _schema;
        elsif _owner <> 'cardbase_owner' then
            raise exception using
                errcode = 'object_not_in_prerequisite_state',
                message = format('schema %I belongs to %I', _schema, _owner),
                detail = 'The schemas app, api and deployment must belong to cardbase_owner.',
                hint = 'Deploy into a database that nothing else uses.';
        end if;
    end loop;
end;
$do$;

set local role cardbase_owner;

do $do$
declare
    _difference record;
begin
    -- Between our own roles and PUBLIC the list is complete; what other roles were granted is not ours to judge.
    for _difference in
        with wanted as (
            select schema_name, role_name, 'USAGE' as privilege
            from (
                values
                ('api', array['cardbase_gateway', 'cardbase_service', 'cardbase_worker']),
                ('api', array['cardbase_api', 'cardbase_maintenance', 'cardbase_finder', 'cardbase_authenticator']),
                ('app', array['cardbase_api', 'cardbase_maintenance', 'cardbase_finder', 'cardbase_authenticator']),
                ('api', array['cardbase_dispatcher']),
                ('app', array['cardbase_dispatcher']),
                -- for the maintenance functions that a worker runs
                ('app', array['cardbase_worker']),
                -- for the settings, and the version that says when to read the catalog again
                ('deployment', array['cardbase_api', 'cardbase_maintenance'])
            ) as line (schema_name, role_names)
            cross join unnest(line.role_names) as role_name
        ),
        granted as (
            select
                pg_namespace.nspname as schema_name,
                coalesce(pg_roles.rolname, 'public') as role_name,
                acl.privilege_type as privilege
            from pg_namespace
            cross join aclexplode(pg_namespace.nspacl) as acl
            left join pg_roles on pg_roles.oid = acl.grantee
            where pg_namespace.nspname in ('app', 'api', 'deployment')
                and (acl.grantee = 0 or pg_roles.rolname like 'cardbase\_%')
                and acl.grantee <> pg_namespace.nspowner
        )
        select
            coalesce(wanted.schema_name, granted.schema_name) as schema_name,
            coalesce(wanted.role_name, granted.role_name) as role_name,
            coalesce(wanted.privilege, granted.privilege) as privilege,
            granted.schema_name is null as is_missing
        from wanted
        full join granted using (schema_name, role_name, privilege)
        where wanted.schema_name is null or granted.schema_name is null
        order by schema_name, role_name, privilege
    loop
        execute format(
            case when _difference.is_missing then 'grant %s on schema %I to %s' else 'revoke %s on schema %I from %s' end,
            _difference.privilege,
            _difference.schema_name,
            case when _difference.role_name = 'public' then 'public' else quote_ident(_difference.role_name) end
        );
        raise info 'schema %: % % %',
            _difference.schema_name,
            lower(_difference.privilege),
            case when _difference.is_missing then 'granted to' else 'revoked from' end,
            _difference.role_name;
    end loop;

    -- The global form: the one "in schema" takes nothing away from what PUBLIC is given everywhere.
    if not exists (
        select
        from pg_default_acl as standing
        where standing.defaclrole = 'cardbase_owner'::regrole
            and standing.defaclnamespace = 0
            and standing.defaclobjtype = 'f'
            and not exists (select from aclexplode(standing.defaclacl) as acl where acl.grantee = 0)
    ) then
        alter default privileges for role cardbase_owner revoke execute on functions from public;
        raise info 'default privileges of cardbase_owner: execute revoked from public';
    end if;
end;
$do$;

create table if not exists deployment.migrations (
    name text not null,
    sha256 text not null,
    applied_at timestamptz not null default now(),
    constraint migrations_pkey primary key (name)
);
comment on table deployment.migrations is 'The migrations applied to this database. Their text never changes.';

create table if not exists deployment.files (
    path text not null,
    sha256 text not null,
    constraint files_pkey primary key (path)
);
comment on table deployment.files is 'The function and policy files as they were last applied.';

create table if not exists deployment.state (
    is_only_row boolean not null default true,
    catalog_version bigint not null default 0,
    fingerprint jsonb not null default '{}',
    deployed_at timestamptz not null default now(),
    constraint state_pkey primary key (is_only_row),
    constraint state_is_only_row_check check (is_only_row)
);
comment on table deployment.state is 'The outcome of the last deploy that changed something: one row.';
comment on column deployment.state.catalog_version is 'Raised by each such deploy.';
comment on column deployment.state.fingerprint is 'SHA-256 of each function, policy and table''s grants, by name.';

insert into deployment.state default values on conflict do nothing;

create table if not exists deployment.settings (
    name text not null,
    value jsonb not null,
    constraint settings_pkey primary key (name)
);
comment on table deployment.settings is 'Settings that functions depend on, as the last deploy had them.';

do $do$
begin
    if not has_table_privilege('cardbase_maintenance', 'deployment.settings', 'select') then
        grant select on deployment.settings to cardbase_api, cardbase_maintenance;
        raise info 'table deployment.settings: select granted to cardbase_api and cardbase_maintenance';
    end if;
    if not has_column_privilege('cardbase_api', 'deployment.state', 'catalog_version', 'select') then
        grant select (catalog_version) on deployment.state to cardbase_api;
        raise info 'table deployment.state: select (catalog_version) granted to cardbase_api';
    end if;
end;
$do$;

reset role;
