-- Tables on which row-level security does not hold, be it for their owner only, and those on which a role has a
-- privilege but no policy: it would see nothing, and a policy added in haste would show it too much.
with relations as (
    select
        relation.oid,
        relation.relacl,
        relation.relowner,
        relation.relrowsecurity,
        relation.relforcerowsecurity
    from pg_class as relation
    where
        relation.relnamespace in (
            select pg_namespace.oid
            from pg_namespace
            where pg_namespace.nspname in ('app', 'api')
        )
        and relation.relkind in ('r', 'p')
),

granted as (
    select
        relations.oid,
        acl.grantee,
        acl.privilege_type
    from relations
    cross join aclexplode(relations.relacl) as acl
    where acl.grantee not in (0, relations.relowner)
    union
    select
        relations.oid,
        acl.grantee,
        acl.privilege_type
    from relations
    inner join pg_attribute as attribute on relations.oid = attribute.attrelid
    cross join aclexplode(attribute.attacl) as acl
    where acl.grantee not in (0, relations.relowner)
)

select
    format('table %s', relations.oid::regclass) as subject,
    'row-level security is not enabled: every tenant''s rows are everybody''s who may read it' as problem,
    format('alter table %s enable row level security;', relations.oid::regclass) as remedy
from relations
where not relations.relrowsecurity
union all
select
    format('table %s', relations.oid::regclass),
    'row-level security is not forced: its owner walks past the policies',
    format('alter table %s force row level security;', relations.oid::regclass)
from relations
where not relations.relforcerowsecurity
union all
select
    format('table %s', granted.oid::regclass),
    format('%s may %s, but no policy is for it', granted.grantee::regrole, lower(granted.privilege_type)),
    'Add a policy for the role in db/policies, or take the privilege away there.'
from granted
where
    granted.privilege_type in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
    and not exists (
        select
        from pg_policy as policy
        where
            policy.polrelid = granted.oid
            and policy.polpermissive
            and granted.grantee = any(policy.polroles)
            and policy.polcmd in (
                '*',
                case granted.privilege_type
                    when 'SELECT' then 'r'
                    when 'INSERT' then 'a'
                    when 'UPDATE' then 'w'
                    else 'd'
                end
            )
    )
union all
select
    format('table %s', relations.oid::regclass),
    'cardbase_owner sees rows of it, by the policies of roles that it belongs to',
    format(
        'create policy "the owner sees no row" on %s as restrictive to cardbase_owner using (false);',
        relations.oid::regclass
    )
from relations
where
    exists (
        select
        from pg_policy as policy
        cross join unnest(policy.polroles) as role (id)
        where
            policy.polrelid = relations.oid
            and policy.polpermissive
            and (role.id = 0 or pg_has_role(to_regrole('cardbase_owner'), role.id, 'usage'))
    )
    and not exists (
        select
        from pg_policy as policy
        where
            policy.polrelid = relations.oid
            and not policy.polpermissive
            and policy.polcmd = '*'
            and to_regrole('cardbase_owner') = any(policy.polroles)
            and pg_get_expr(policy.polqual, policy.polrelid) = 'false'
    )
order by 1, 2
