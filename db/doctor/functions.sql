-- Functions that callers could mistake, several of one name and those that say nothing of themselves, and functions of
-- schema api that no caller may execute.
with routines as (
    select
        routine.oid,
        routine.pronamespace,
        routine.proname
    from pg_proc as routine
    where
        routine.pronamespace in (
            select pg_namespace.oid
            from pg_namespace
            where pg_namespace.nspname in ('app', 'api')
        )
)

select
    format('function %s.%I', routines.pronamespace::regnamespace, routines.proname) as subject,
    format('there are %s of this name', count(*)) as problem,
    'Drop all but one in a migration, and give it parameters with defaults instead.' as remedy
from routines
group by routines.pronamespace, routines.proname
having count(*) > 1
union all
select
    format('function %s', routines.oid::regprocedure),
    'it has no comment, so neither API documents it',
    format('Write "comment on function %s is …" in its file.', routines.oid::regprocedure)
from routines
where coalesce(btrim(obj_description(routines.oid, 'pg_proc')), '') = ''
union all
select
    format('function %s', routines.oid::regprocedure),
    'none of the roles that log in may execute it',
    format('grant execute on function %s to cardbase_gateway, cardbase_service;', routines.oid::regprocedure)
from routines
where
    routines.pronamespace = to_regnamespace('api')
    and not exists (
        select
        from pg_roles as login
        where
            login.rolname in ('cardbase_gateway', 'cardbase_service', 'cardbase_worker')
            and has_function_privilege(login.oid, routines.oid, 'execute')
    )
order by subject
