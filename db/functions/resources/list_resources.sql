-- Lists a user-owned table, a page at a time.
--   table_name      the table
--   page, per_page  the page, from 1, and how many rows fit on it, 1 to 1,000
--   filters         {column: value}: only rows with this value; a null: any
--   text_column     only rows whose text in this column contains q, in upper or lower case
--   q               null: any
--   order_column    the order of the list: id is the order of creation
--   is_ascending    in that order; false: in the reverse, so newest first
-- Returns 200 with the rows, as app.<resource>_document shows them, and app.page_meta.
-- Errors: PT422 validation_error.
-- Totals are kept by app.resource_group (app.add_to_total). Where other filters narrow the list, its total costs a look
-- at each matching index entry, and with q at each row.
create or replace function app.list_resources(
    table_name text,
    page integer,
    per_page integer,
    filters jsonb default '{}',
    text_column text default null,
    q text default null,
    order_column text default 'id',
    is_ascending boolean default false
)
returns api.reply
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    _page constant integer := coalesce(list_resources.page, 1);
    _per_page constant integer := coalesce(list_resources.per_page, 20);
    _filters constant jsonb := app.provided_fields(list_resources.filters);
    _group constant text := app.resource_group(list_resources.table_name);
    _condition text := 'resource.tenant_id = $1 and resource.user_id = $2 and resource.deleted_at is null';
    _data jsonb;
    _total bigint;
begin
    perform app.check_range('page', _page, 1, 2147483647);
    perform app.check_range('per_page', _per_page, 1, 1000);

    if _filters <> '{}' then
        -- The value is cast to the column's type, so that an index on the column finds it.
        select concat(
            _condition,
            string_agg(
                format(
                    ' and resource.%1$I = ($3 ->> %1$L)::%2$s',
                    field.name,
                    format_type(attribute.atttypid, attribute.atttypmod)
                ),
                ''
            )
        )
        into _condition
        from jsonb_object_keys(_filters) as field (name)
        inner join pg_attribute as attribute
            on
                attribute.attrelid = format('app.%I', list_resources.table_name)::regclass
                and attribute.attname = field.name;
    end if;

    if list_resources.q is not null then
        _condition := concat(
            _condition, format(' and strpos(lower(resource.%I), lower($4)) > 0', list_resources.text_column)
        );
    end if;

    -- Documents are built for the rows of the page only, not for those before it.
    execute format(
        $sql$
        select coalesce(jsonb_agg(app.%5$I(page.resource) order by (page.resource).%3$I %4$s), '[]')
        from (
            select resource
            from app.%1$I as resource
            where %2$s
            order by resource.%3$I %4$s
            limit $5 offset $6
        ) as page
        $sql$,
        list_resources.table_name,
        _condition,
        list_resources.order_column,
        case when list_resources.is_ascending then 'asc' else 'desc' end,
        app.resource_name(list_resources.table_name) || '_document'
    )
    into _data
    using
        app.current_tenant_id(),
        app.current_user_id(),
        list_resources.filters,
        list_resources.q,
        _per_page,
        (_page - 1)::bigint * _per_page;

    if list_resources.q is null and _filters = '{}' then
        select coalesce(sum(standing.total), 0)::bigint
        into _total
        from app.resource_totals as standing
        where
            standing.tenant_id = app.current_tenant_id()
            and standing.user_id = app.current_user_id()
            and standing.table_name = list_resources.table_name;
    elsif list_resources.q is null and _filters - _group = '{}' then
        select coalesce(sum(standing.total), 0)::bigint
        into _total
        from app.resource_totals as standing
        where
            standing.tenant_id = app.current_tenant_id()
            and standing.user_id = app.current_user_id()
            and standing.table_name = list_resources.table_name
            and standing.group_name = _filters ->> _group;
    else
        execute format('select count(*) from app.%I as resource where %s', list_resources.table_name, _condition)
        into _total
        using app.current_tenant_id(), app.current_user_id(), list_resources.filters, list_resources.q;
    end if;

    return app.success(200, _data, app.page_meta(_page, _per_page, _total));
end;
$$;

comment on function app.list_resources(text, integer, integer, jsonb, text, text, text, boolean) is
$$Lists a user-owned table, a page at a time, with the total.

PT422: page or per_page is out of range.$$;
revoke all on function app.list_resources(text, integer, integer, jsonb, text, text, text, boolean) from public;
grant execute on function app.list_resources(text, integer, integer, jsonb, text, text, text, boolean) to cardbase_api;
