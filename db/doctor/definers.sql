-- Functions that lend their callers a role with too much: in our schemas, and wherever else a role that logs in may
-- call them. The roles to run as are ours that don't log in, but for cardbase_owner: they own functions only.
with definers as (
    select
        routine.oid,
        owner.rolname as owner_name,
        concat_ws(
            ', ',
            case
                when owner.rolname not like 'cardbase\_%' or owner.rolname = 'cardbase_owner'
                    then 'is none of the roles that functions run as'
            end,
            case when owner.rolsuper then 'is a superuser' end,
            case when owner.rolbypassrls then 'bypasses row-level security' end,
            case when owner.rolcreaterole then 'creates roles' end,
            case when owner.rolcreatedb then 'creates databases' end,
            case when owner.rolreplication then 'may replicate' end,
            case when owner.rolcanlogin then 'logs in' end,
            case
                when
                    exists (
                        select
                        from pg_class as relation
                        inner join pg_namespace as home on relation.relnamespace = home.oid
                        where
                            relation.relowner = owner.oid
                            and relation.relkind in ('r', 'p')
                            and home.nspname in ('app', 'api', 'deployment')
                    )
                    then 'owns tables'
            end
        ) as too_much
    from pg_proc as routine
    inner join pg_roles as owner on routine.proowner = owner.oid
    inner join pg_namespace as schema on routine.pronamespace = schema.oid
    where
        routine.prosecdef
        and schema.nspname not in ('pg_catalog', 'information_schema')
        and (
            schema.nspname in ('app', 'api', 'deployment')
            or exists (
                select
                from pg_roles as login
                where
                    login.rolname in ('cardbase_gateway', 'cardbase_service', 'cardbase_worker')
                    and has_schema_privilege(login.oid, schema.oid, 'usage')
                    and has_function_privilege(login.oid, routine.oid, 'execute')
            )
        )
)

select
    format('function %s', definers.oid::regprocedure) as subject,
    format('it runs as its owner %I, which %s', definers.owner_name, definers.too_much) as problem,
    format(
        'alter function %s owner to cardbase_api; or take "security definer" away from it.',
        definers.oid::regprocedure
    ) as remedy
from definers
where definers.too_much <> ''
order by 1
