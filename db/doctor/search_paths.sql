-- Functions in which a caller's search_path, or a temporary object, could decide what a name means.
-- A body that was parsed when the function was made (language sql, "return" or "begin atomic") has no names left.
select
    format('function %s', routine.oid::regprocedure) as subject,
    coalesce(
        (
            select format('its search_path is pinned to something else: %s', setting)
            from unnest(routine.proconfig) as setting
            where setting like 'search\_path=%'
        ),
        'its search_path is not pinned'
    ) as problem,
    format('alter function %s set search_path = pg_catalog, pg_temp;', routine.oid::regprocedure) as remedy
from pg_proc as routine
where
    routine.pronamespace in (
        select pg_namespace.oid
        from pg_namespace
        where pg_namespace.nspname in ('app', 'api', 'deployment')
    )
    and routine.prokind in ('f', 'p')
    and not coalesce('search_path=pg_catalog, pg_temp' = any(routine.proconfig), false)
    and (routine.prosqlbody is null or routine.prosecdef)
order by 1
