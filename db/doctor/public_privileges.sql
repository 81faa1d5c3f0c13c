-- What everybody may do: PUBLIC has no privilege on anything of ours. Types are left out: their use opens nothing.
with ours as (
    select pg_namespace.oid
    from pg_namespace
    where pg_namespace.nspname in ('app', 'api', 'deployment')
),

granted as (
    select
        format('function %s', routine.oid::regprocedure) as subject,
        format('%s on function %s', acl.privilege_type, routine.oid::regprocedure) as privilege,
        acl.grantee
    from pg_proc as routine
    -- A function whose grants were never touched is everybody's.
    cross join aclexplode(coalesce(routine.proacl, acldefault('f', routine.proowner))) as acl
    where routine.pronamespace in (select ours.oid from ours)
    union all
    select
        format('table %s', relation.oid::regclass),
        format('%s on table %s', acl.privilege_type, relation.oid::regclass),
        acl.grantee
    from pg_class as relation
    cross join aclexplode(relation.relacl) as acl
    where
        relation.relnamespace in (select ours.oid from ours)
        and relation.relkind <> 'S'
    union all
    select
        format('table %s', attribute.attrelid::regclass),
        format('%s (%I) on table %s', acl.privilege_type, attribute.attname, attribute.attrelid::regclass),
        acl.grantee
    from pg_attribute as attribute
    inner join pg_class as relation on attribute.attrelid = relation.oid
    cross join aclexplode(attribute.attacl) as acl
    where relation.relnamespace in (select ours.oid from ours)
    union all
    select
        format('sequence %s', relation.oid::regclass),
        format('%s on sequence %s', acl.privilege_type, relation.oid::regclass),
        acl.grantee
    from pg_class as relation
    cross join aclexplode(relation.relacl) as acl
    where
        relation.relnamespace in (select ours.oid from ours)
        and relation.relkind = 'S'
    union all
    select
        format('schema %I', schema.nspname),
        format('%s on schema %I', acl.privilege_type, schema.nspname),
        acl.grantee
    from pg_namespace as schema
    cross join aclexplode(schema.nspacl) as acl
    where schema.oid in (select ours.oid from ours)
)

select
    granted.subject,
    'everybody (PUBLIC) has a privilege on it' as problem,
    format('revoke %s from public;', lower(granted.privilege)) as remedy
from granted
where granted.grantee = 0
union all
select
    'default privileges of cardbase_owner',
    'a new function would be everybody''s (PUBLIC)',
    'alter default privileges for role cardbase_owner revoke execute on functions from public;'
where
    not exists (
        select
        from pg_default_acl as standing
        where
            standing.defaclrole = to_regrole('cardbase_owner')
            and standing.defaclnamespace = 0
            and standing.defaclobjtype = 'f'
            and not exists (
                select
                from aclexplode(standing.defaclacl) as acl
                where acl.grantee = 0
            )
    )
order by 1, 3
