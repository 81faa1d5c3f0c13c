-- Everything that db/ makes in a database, one JSON array [kind, name, definition] a line: two databases are equal when
-- these lines are. Numbers of objects and of columns that were dropped don't count; order and settings do.
with ours as (
    select oid, nspname, nspowner, nspacl
    from pg_namespace
    where nspname in ('app', 'api', 'deployment', 'queue')
),

relations as (
    select class.*
    from pg_class as class
    inner join ours on class.relnamespace = ours.oid
),

granted (class, name, acl) as (
    select 'schema', ours.nspname::text, coalesce(ours.nspacl, acldefault('n', ours.nspowner)) from ours
    union all
    select 'relation', oid::regclass::text, coalesce(relacl, acldefault('r', relowner)) from relations
    where relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    union all
    select 'column', concat(relations.oid::regclass, '.', attribute.attname), attribute.attacl
    from relations
    inner join pg_attribute as attribute on relations.oid = attribute.attrelid
    where attribute.attacl is not null and not attribute.attisdropped
    union all
    select 'function', routine.oid::regprocedure::text, coalesce(routine.proacl, acldefault('f', routine.proowner))
    from pg_proc as routine
    inner join ours on routine.pronamespace = ours.oid
    union all
    select 'type', type.oid::regtype::text, coalesce(type.typacl, acldefault('T', type.typowner))
    from pg_type as type
    inner join ours on type.typnamespace = ours.oid
    where type.typcategory <> 'A'
    union all
    select 'default', concat(standing.defaclrole::regrole, ' ', standing.defaclobjtype), standing.defaclacl
    from pg_default_acl as standing
),

described (kind, name, definition) as (
    select 'schema', ours.nspname::text, concat_ws(' ', ours.nspowner::regrole, obj_description(ours.oid)) from ours
    union all
    select
        'relation', oid::regclass::text,
        concat_ws(
            ' ', relkind, relowner::regrole, relpersistence, relrowsecurity, relforcerowsecurity, relreplident,
            reloptions, obj_description(oid)
        )
    from relations
    union all
    select
        'column', concat(relations.oid::regclass, '.', attribute.attname),
        concat_ws(
            ' ',
            row_number() over (partition by relations.oid order by attribute.attnum),
            format_type(attribute.atttypid, attribute.atttypmod), attribute.attnotnull, attribute.attgenerated,
            attribute.attidentity, attribute.attstattarget, attribute.attstorage, attribute.attcompression,
            attribute.attcollation::regcollation, attribute.attoptions,
            pg_get_expr(standard.adbin, standard.adrelid),
            col_description(relations.oid, attribute.attnum)
        )
    from relations
    inner join pg_attribute as attribute on relations.oid = attribute.attrelid
    left join pg_attrdef as standard
        on attribute.attrelid = standard.adrelid and attribute.attnum = standard.adnum
    where attribute.attnum > 0 and not attribute.attisdropped
    union all
    select 'index', indexrelid::regclass::text, concat_ws(' ', pg_get_indexdef(indexrelid), indisvalid, indisclustered)
    from pg_index
    where indexrelid in (select oid from relations)
    union all
    select
        'constraint', concat(coalesce(conrelid::regclass::text, contypid::regtype::text), ' ', conname),
        concat_ws(' ', pg_get_constraintdef(pg_constraint.oid), convalidated)
    from pg_constraint
    inner join ours on pg_constraint.connamespace = ours.oid
    union all
    select 'trigger', concat(tgrelid::regclass, ' ', tgname), concat_ws(' ', pg_get_triggerdef(oid), tgenabled)
    from pg_trigger
    where tgrelid in (select oid from relations) and not tgisinternal
    union all
    select
        'function', routine.oid::regprocedure::text,
        concat_ws(
            ' ',
            routine.proowner::regrole,
            case when routine.prokind <> 'a' then pg_get_functiondef(routine.oid) end,
            obj_description(routine.oid, 'pg_proc')
        )
    from pg_proc as routine
    inner join ours on routine.pronamespace = ours.oid
    union all
    select
        'policy', concat(polrelid::regclass, ' ', polname),
        concat_ws(
            ' ', polcmd, polpermissive, polroles::regrole[],
            pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)
        )
    from pg_policy
    where polrelid in (select oid from relations)
    union all
    select
        'type', type.oid::regtype::text,
        concat_ws(
            ' ', type.typtype, type.typowner::regrole, type.typbasetype::regtype, type.typdefault,
            (select string_agg(label.enumlabel, ',' order by label.enumsortorder) from pg_enum as label
             where label.enumtypid = type.oid),
            obj_description(type.oid, 'pg_type')
        )
    from pg_type as type
    inner join ours on type.typnamespace = ours.oid
    where type.typcategory <> 'A'
    union all
    select 'statistics', statistic.oid::regclass::text, pg_get_statisticsobjdef(statistic.oid)
    from pg_statistic_ext as statistic
    inner join ours on statistic.stxnamespace = ours.oid
    union all
    select 'extension', extname, extnamespace::regnamespace::text
    from pg_extension
    where extname <> 'pgtap'
    union all
    select
        concat('grants on ', class), name,
        (select string_agg(entry::text, ', ' order by entry::text) from unnest(acl) as entry)
    from granted
)

select jsonb_build_array(kind, name, definition)
from described
order by kind collate "C", name collate "C", definition collate "C";
