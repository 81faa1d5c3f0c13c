-- What can be called over /rpc: every function of schema api that the gateway may execute, save for those whose
-- comment has a line "@internal", and for definers whose owner row-level security doesn't bind: they would show every
-- tenant's rows to each.
-- Returns {"version": as api.catalog_version(), "comments": {name: comment} of these and of the internal ones,
-- "functions": [function]}, ordered by name and then by age:
--   name, comment      as in the catalog; comment is never null
--   is_volatile        false: it is stable or immutable, and may be called by GET
--   kind               what it returns: reply (api.reply), void, scalar, row (with columns) or record (without)
--   is_set             whether it returns any number of those
--   type               the type it returns
--   columns            [{name, type}] of a row; else []
--   timeout_ms         its own statement_timeout; null: none
--   parameters         [{name, type, is_required, is_variadic, default}] that go in; an unnamed one has the name ""
-- and each type is {name, kind, base, labels}: the name as SQL writes it, with its schema; kind json, array, row or
-- scalar; base, the name of the type beneath a domain, else its own; labels, an enum's.
-- Functions over pseudo-types (trigger, anyelement, internal, …) can't be called with JSON values and are left out.
create or replace function api.catalog()
returns jsonb
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    with recursive

    base (type_id, base_id) as (
        select
            pg_type.oid,
            pg_type.oid
        from pg_type
        union all
        select
            base.type_id,
            pg_type.typbasetype
        from base
        inner join pg_type on pg_type.oid = base.base_id
        where pg_type.typtype = 'd'
    ),

    described as (
        select
            base.type_id,
            pg_type.typtype as type_type,
            jsonb_build_object(
                'name', format_type(base.type_id, null),
                'kind', case
                    when base.base_id in ('json'::regtype, 'jsonb'::regtype) then 'json'
                    when pg_type.typcategory = 'A' then 'array'
                    when pg_type.typtype = 'c' or base.base_id = 'record'::regtype then 'row'
                    else 'scalar'
                end,
                'base', format_type(base.base_id, null),
                'labels', (
                    select coalesce(jsonb_agg(pg_enum.enumlabel order by pg_enum.enumsortorder), '[]')
                    from pg_enum
                    where pg_enum.enumtypid = base.base_id
                )
            ) as description
        from base
        inner join pg_type on pg_type.oid = base.base_id
        where pg_type.typtype <> 'd'
    ),

    callable as (
        select
            pg_proc.*,
            coalesce(obj_description(pg_proc.oid, 'pg_proc'), '') as comment,
            'o' = any(pg_proc.proargmodes) or 'b' = any(pg_proc.proargmodes) or 't' = any(pg_proc.proargmodes) as has_columns
        from pg_proc
        where
            pg_proc.pronamespace = 'api'::regnamespace
            and pg_proc.prokind = 'f'
            and has_function_privilege('cardbase_gateway', pg_proc.oid, 'execute')
            and not (
                pg_proc.prosecdef
                and exists (
                    select
                    from pg_roles as owner
                    where
                        owner.oid = pg_proc.proowner
                        and (owner.rolsuper or owner.rolbypassrls)
                )
            )
    ),

    parameter as (
        select
            callable.oid as function_id,
            listed.position,
            coalesce(callable.proargmodes[listed.position], 'i') as mode,
            coalesce(callable.proargnames[listed.position], '') as name,
            listed.type_id,
            -- the place among those that go in: the last of them have the defaults
            count(*) filter (where coalesce(callable.proargmodes[listed.position], 'i') in ('i', 'b', 'v'))
                over (partition by callable.oid order by listed.position) as place
        from callable
        cross join unnest(coalesce(callable.proallargtypes, callable.proargtypes::oid []))
            with ordinality as listed (type_id, position)
    ),

    signature as (
        select
            parameter.function_id,
            bool_or(described.type_type = 'p') as is_pseudo,
            jsonb_agg(
                jsonb_build_object(
                    'name', parameter.name,
                    'type', described.description,
                    'is_required', parameter.place <= callable.pronargs - callable.pronargdefaults,
                    'is_variadic', parameter.mode = 'v',
                    'default', pg_get_function_arg_default(callable.oid, parameter.position::integer)
                )
                order by parameter.position
            ) as parameters
        from parameter
        inner join callable on callable.oid = parameter.function_id
        inner join described on described.type_id = parameter.type_id
        where parameter.mode in ('i', 'b', 'v')
        group by parameter.function_id
    ),

    returned as (
        select
            parameter.function_id,
            jsonb_agg(
                jsonb_build_object('name', parameter.name, 'type', described.description) order by parameter.position
            ) as columns
        from parameter
        inner join described on described.type_id = parameter.type_id
        where parameter.mode in ('o', 'b', 't')
        group by parameter.function_id
        union all
        select
            callable.oid,
            jsonb_agg(
                jsonb_build_object('name', pg_attribute.attname, 'type', described.description)
                order by pg_attribute.attnum
            )
        from callable
        inner join base on base.type_id = callable.prorettype
        inner join pg_type on pg_type.oid = base.base_id and pg_type.typtype = 'c'
        inner join pg_attribute
            on pg_attribute.attrelid = pg_type.typrelid and pg_attribute.attnum > 0 and not pg_attribute.attisdropped
        inner join described on described.type_id = pg_attribute.atttypid
        where not coalesce(callable.has_columns, false)
        group by callable.oid
    )

    select
        jsonb_build_object(
            'version', (
                select state.catalog_version
                from deployment.state
            ),
            'comments', (
                select coalesce(jsonb_object_agg(commented.proname, commented.comment), '{}')
                from callable as commented
            ),
            'functions', coalesce(
                jsonb_agg(
                    jsonb_build_object(
                        'name', callable.proname,
                        'comment', callable.comment,
                        'is_volatile', callable.provolatile = 'v',
                        'kind', case
                            when callable.prorettype = 'void'::regtype then 'void'
                            when callable.prorettype = 'api.reply'::regtype and not callable.proretset then 'reply'
                            when returned.columns is not null then 'row'
                            when described.description ->> 'kind' = 'row' then 'record'
                            else 'scalar'
                        end,
                        'is_set', callable.proretset,
                        'type', described.description,
                        'columns', coalesce(returned.columns, '[]'),
                        'timeout_ms', (
                            select
                                case
                                    when setting.value ~ '^[0-9]+$' then setting.value::numeric
                                    else extract(epoch from setting.value::interval) * 1000
                                end::bigint
                            from unnest(callable.proconfig) as entry
                            cross join substr(entry, length('statement_timeout=') + 1) as setting (value)
                            where entry like 'statement\_timeout=%'
                        ),
                        'parameters', coalesce(signature.parameters, '[]')
                    )
                    order by callable.proname, callable.oid
                ),
                '[]'
            )
        )
    from callable
    inner join described on described.type_id = callable.prorettype
    left join signature on signature.function_id = callable.oid
    left join returned on returned.function_id = callable.oid
    where
        not coalesce(signature.is_pseudo, false)
        and (described.type_type <> 'p' or callable.prorettype in ('void'::regtype, 'record'::regtype))
        and callable.comment !~ '(^|\n)@internal *(\n|$)'
$$;

comment on function api.catalog() is
$$What can be called over /rpc, with parameters, types and comments.

@internal$$;
alter function api.catalog() owner to cardbase_api;
revoke all on function api.catalog() from public;
grant execute on function api.catalog() to cardbase_gateway, cardbase_service;
