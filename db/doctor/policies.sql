-- Policies that cost more than they must, that Citus refuses, or that show a tenant more than its own.
-- Their stored trees are read: the catalog's dependencies leave out what is built in.
with expressions as (
    select
        policy.polroles,
        policy.polpermissive,
        expression.tree,
        format('policy "%s" on %s', policy.polname, policy.polrelid::regclass) as subject,
        pg_get_expr(expression.tree, policy.polrelid) as text
    from pg_policy as policy
    inner join pg_class as relation on policy.polrelid = relation.oid
    cross join lateral (values (policy.polqual), (policy.polwithcheck)) as expression (tree)
    where
        relation.relnamespace in (
            select pg_namespace.oid
            from pg_namespace
            where pg_namespace.nspname in ('app', 'api')
        )
        and expression.tree is not null
),

helpers as (
    select distinct
        expressions.subject,
        found.parts[1]::oid as oid
    from expressions
    cross join regexp_matches(expressions.tree::text, ':(?:funcid|opfuncid) (\d+)', 'g') as found (parts)
)

select distinct
    expressions.subject,
    'it is for everybody (PUBLIC)' as problem,
    'Name its roles with "to" in db/policies.' as remedy
from expressions
where 0 = any(expressions.polroles)
union all
select distinct
    expressions.subject,
    format('it shows or lets in more than the tenant''s own rows: %s', expressions.text),
    'Compare tenant_id with app.current_tenant_id(). Only roles with one narrow job may work across tenants.'
from expressions
where
    expressions.polpermissive
    and exists (
        select
        from unnest(expressions.polroles) as role (id)
        left join pg_roles on role.id = pg_roles.oid
        -- Of the roles that functions run as, those with one narrow job look at all rows of a table.
        where
            pg_roles.rolcanlogin is not false
            or pg_roles.rolname not like 'cardbase\_%'
            or pg_roles.rolname in ('cardbase_owner', 'cardbase_api')
    )
    and (expressions.text not like '%(tenant\_id = app.current\_tenant\_id())%' or expressions.text ~ ' (OR|NOT) ')
union all
select distinct
    expressions.subject,
    'it has a sub-select, which runs for each query and which Citus refuses',
    'Compare columns with app.current_tenant_id() directly.'
from expressions
where expressions.tree::text like '%{SUBLINK %'
union all
select
    helpers.subject,
    format(
        'it calls %s, which is %s',
        routine.oid::regprocedure,
        concat_ws(
            ', ',
            case when routine.provolatile = 'v' then 'volatile' end,
            case when routine.proparallel <> 's' then 'not parallel safe' end,
            case when language.lanname not in ('internal', 'c', 'sql') then 'written in ' || language.lanname end,
            case when routine.prosecdef or routine.proconfig is not null then 'not inlined' end
        )
    ),
    'Let it be one expression: language sql, stable, parallel safe, neither "set" nor "security definer".'
from helpers
inner join pg_proc as routine on helpers.oid = routine.oid
inner join pg_language as language on routine.prolang = language.oid
where
    routine.provolatile = 'v'
    or routine.proparallel <> 's'
    or language.lanname not in ('internal', 'c', 'sql')
    or routine.prosecdef
    or routine.proconfig is not null
order by 1, 2
