-- Functions that leave something behind on a connection, where the next caller, another tenant's, would find it.
-- Texts of functions are searched, without their comments: dynamic SQL is seen where it begins with the word.
with bodies as (
    select
        routine.oid,
        regexp_replace(
            regexp_replace(
                coalesce(pg_get_function_sqlbody(routine.oid), routine.prosrc), '/\*.*?\*/', ' ', 'g'
            ),
            '--[^\n]*',
            ' ',
            'g'
        ) as body
    from pg_proc as routine
    where
        routine.pronamespace in (
            select pg_namespace.oid
            from pg_namespace
            where pg_namespace.nspname in ('app', 'api')
        )
        and routine.prokind in ('f', 'p')
),

traces as (
    select
        bodies.oid,
        'a session-level set_config' as trace
    from bodies
    cross join
        regexp_matches(
            bodies.body, 'set_config\s*(\((?:[^()]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))*\))', 'gi'
        ) as call (parts)
    where call.parts[1] !~* ',\s*(is_local\s*=>\s*)?true\s*\)$'
    union all
    select
        bodies.oid,
        lower(btrim(regexp_replace(statement.parts[1], '\s+', ' ', 'g')))
    from bodies
    cross join
        regexp_matches(
            bodies.body,
            '(?:^|;|\m(?:begin|then|else|loop)\M|\mexecute\s+(?:format\s*\(\s*)?(?:e?''|\$\w*\$))\s*'
            || '(set\s+(?!local\M|transaction\M|constraints\M)\w+|reset\M|listen\M|unlisten\M|prepare\M|deallocate\M'
            || '|discard\M|load\M|create\s+(?:local\s+|global\s+)?temp(?:orary)?\M|declare\s+\w+[^;]*\mwith\s+hold\M)',
            'gi'
        ) as statement (parts)
    union all
    select
        bodies.oid,
        'a session-level advisory lock'
    from bodies
    where bodies.body ~* '\mpg_(try_)?advisory_lock(_shared)?\s*\('
)

select
    found.subject,
    found.problem,
    'Keep to the transaction: set local, set_config(…, true), pg_advisory_xact_lock.' as remedy
from (
    select distinct
        format('function %s', traces.oid::regprocedure) as subject,
        format('it leaves something behind on the connection: %s', traces.trace) as problem
    from traces
) as found
order by found.subject, found.problem
