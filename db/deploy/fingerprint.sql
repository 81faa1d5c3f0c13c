-- Everything that function and policy files create, each with the SHA-256 of its definition, owner and grants: what
-- differs from the last deploy's was changed by somebody else. Stored expressions are compared as they are stored,
-- because pg_get_expr and pg_get_functiondef would lock tables.
with ours as (
    select namespace.oid
    from pg_namespace as namespace
    where namespace.nspowner = 'cardbase_owner'::regrole and namespace.nspname <> 'deployment'
),

described (name, definition) as (
    select
        format('function %s', routine.oid::regprocedure),
        concat_ws(
            e'\n',
            to_jsonb(routine) - 'oid' - 'proacl',
            (
                select string_agg(entry::text, ',' order by entry::text)
                from unnest(coalesce(routine.proacl, acldefault('f', routine.proowner))) as entry
            )
        )
    from pg_proc as routine
    where routine.pronamespace in (select ours.oid from ours)
    union all
    select
        format('table %s', class.oid::regclass),
        concat_ws(
            e'\n',
            class.relowner::regrole,
            class.relrowsecurity,
            class.relforcerowsecurity,
            (select string_agg(entry::text, ',' order by entry::text) from unnest(class.relacl) as entry),
            (
                select string_agg(concat(attribute.attname, ' ', entry), ',' order by attribute.attname, entry::text)
                from pg_attribute as attribute
                cross join unnest(attribute.attacl) as entry
                where attribute.attrelid = class.oid and not attribute.attisdropped
            )
        )
    from pg_class as class
    where
        class.relnamespace in (select ours.oid from ours)
        and class.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
        and not class.relispartition
    union all
    select
        format('policy "%s" on %s', policy.polname, policy.polrelid::regclass),
        concat_ws(
            e'\n',
            policy.polcmd,
            policy.polpermissive,
            (
                select string_agg(case role when 0 then 'public' else role::regrole::text end, ',')
                from unnest(policy.polroles) as role
            ),
            coalesce(policy.polqual::text, '-'),
            coalesce(policy.polwithcheck::text, '-')
        )
    from pg_policy as policy
    inner join pg_class as relation on policy.polrelid = relation.oid
    where relation.relnamespace in (select ours.oid from ours)
    union all
    -- If it is installed, db/policies creates a table that uses its type.
    select
        format('extension %s', extension.extname),
        extension.extname
    from pg_extension as extension
    where extension.extname = 'vector'
)

select
    described.name,
    encode(sha256(convert_to(described.definition, 'UTF8')), 'hex') as sha256
from described;
