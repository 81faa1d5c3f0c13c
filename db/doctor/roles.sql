-- Roles with more than they need: attributes, memberships, and privileges of those that log in.
with ours as (
    select role.*
    from pg_roles as role
    where role.rolname like 'cardbase\_%'
),

logins as (
    select
        ours.oid,
        ours.rolname
    from ours
    where ours.rolname in ('cardbase_gateway', 'cardbase_service', 'cardbase_worker')
)

select
    format('role %I', ours.rolname) as subject,
    format('it has the attribute %s', attribute.name) as problem,
    format('alter role %I no%s;', ours.rolname, attribute.name) as remedy
from ours
cross join
    lateral (
        values
        ('superuser', ours.rolsuper),
        ('bypassrls', ours.rolbypassrls),
        ('createrole', ours.rolcreaterole),
        ('createdb', ours.rolcreatedb),
        ('replication', ours.rolreplication),
        (
            'login',
            ours.rolcanlogin and ours.rolname not in ('cardbase_gateway', 'cardbase_service', 'cardbase_worker')
        )
    ) as attribute (name, is_set)
where attribute.is_set
union all
select
    format('role %I', member.rolname),
    format('it is a member of %I', granted.rolname),
    format('revoke %I from %I;', granted.rolname, member.rolname)
from pg_auth_members as membership
inner join ours as member on membership.member = member.oid
inner join pg_roles as granted on membership.roleid = granted.oid
where
    -- The owner makes functions and hands them to the roles they run as.
    not (member.rolname = 'cardbase_owner' and granted.rolname like 'cardbase\_%' and not granted.rolcanlogin)
union all
select
    format('role %I', logins.rolname),
    format('it has a privilege on table %s', relation.oid::regclass),
    format('revoke all on table %s from %I;', relation.oid::regclass, logins.rolname)
from logins
cross join pg_class as relation
where
    relation.relnamespace in (
        select pg_namespace.oid
        from pg_namespace
        where pg_namespace.nspname in ('app', 'api', 'deployment')
    )
    and relation.relkind in ('r', 'p', 'v', 'm', 'f')
    and (
        has_table_privilege(logins.oid, relation.oid, 'select, insert, update, delete')
        or has_table_privilege(logins.oid, relation.oid, 'truncate, references, trigger')
        or has_any_column_privilege(logins.oid, relation.oid, 'select, insert, update, references')
    )
union all
select
    format('role %I', ours.rolname),
    format('it may create in schema %I', schema.nspname),
    format('revoke create on schema %I from %I;', schema.nspname, ours.rolname)
from ours
cross join pg_namespace as schema
where
    schema.nspname in ('app', 'api', 'deployment', 'public')
    and ours.rolname <> 'cardbase_owner'
    and has_schema_privilege(ours.oid, schema.oid, 'create')
order by 1, 2
