-- Changes a row of a user-owned table.
--   table_name       the table
--   id               the row, by the column key
--   fields           {column: value}; a null leaves the column as it was
--   cleared_fields   columns to empty
-- Returns 200 with the row. Where no field is given nothing changes, not even updated_at.
-- Errors: PT404 <resource>_not_found; PT422 validation_error (app.refuse_violation).
create or replace function app.update_resource(
    table_name text,
    id uuid,
    fields jsonb,
    cleared_fields text[] default '{}',
    key text default 'id'
)
returns api.reply
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    _fields constant jsonb := app.provided_fields(update_resource.fields, update_resource.cleared_fields);
    _changes text;
    _document jsonb;
    _column text;
    _constraint text;
begin
    -- The only jsonb column of these tables.
    perform app.check_json('metadata', _fields -> 'metadata');

    select string_agg(format('%1$I = given.%1$I, ', field.name), '')
    into _changes
    from jsonb_object_keys(_fields) as field (name);

    if _changes is null then
        return app.get_resource(update_resource.table_name, update_resource.id, update_resource.key);
    end if;

    execute format(
        $sql$
        update app.%1$I as resource
        set %2$s updated_at = clock_timestamp()
        from jsonb_populate_record(null::app.%1$I, $4) as given
        where resource.tenant_id = $1 and resource.user_id = $2 and resource.%3$I = $3 and resource.deleted_at is null
        returning app.%4$I(resource)
        $sql$,
        update_resource.table_name,
        _changes,
        update_resource.key,
        app.resource_name(update_resource.table_name) || '_document'
    )
    into _document
    using app.current_tenant_id(), app.current_user_id(), update_resource.id, _fields;

    if _document is null then
        perform app.resource_not_found(update_resource.table_name, update_resource.id);
    end if;

    return app.success(200, _document);
exception
    when check_violation or not_null_violation then
        get stacked diagnostics _column = column_name, _constraint = constraint_name;
        perform app.refuse_violation(update_resource.table_name, _column, _constraint);
end;
$$;

comment on function app.update_resource(text, uuid, jsonb, text[], text) is
$$Changes a row of a user-owned table, and returns 200 with it.

PT404: the user has no such row, or it was deleted. PT422: a field is not valid.$$;
revoke all on function app.update_resource(text, uuid, jsonb, text[], text) from public;
grant execute on function app.update_resource(text, uuid, jsonb, text[], text) to cardbase_api;
