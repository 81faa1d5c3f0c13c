-- Adds a row to a user-owned table.
--   table_name   the table
--   fields       {column: value}; a null is left to the column's default
-- Returns 201 with the row, as app.<resource>_document shows it.
-- Errors: PT422 validation_error, in the words of the constraint that the row violates (app.refuse_violation).
-- For the tenant and user of the transaction, as app.set_caller set them. The names of the table and its columns are
-- written in the calling function, they never come from a request.
create or replace function app.create_resource(table_name text, fields jsonb)
returns api.reply
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    _fields constant jsonb := app.provided_fields(create_resource.fields);
    _columns text;
    _document jsonb;
    _column text;
    _constraint text;
begin
    -- The only jsonb column of these tables.
    perform app.check_json('metadata', _fields -> 'metadata');

    select string_agg(format(', %I', field.name), '')
    into _columns
    from jsonb_object_keys(_fields) as field (name);

    execute format(
        $sql$
        insert into app.%1$I as resource (tenant_id, user_id %2$s)
        select $1, $2 %2$s from jsonb_populate_record(null::app.%1$I, $3)
        returning app.%3$I(resource)
        $sql$,
        create_resource.table_name,
        _columns,
        app.resource_name(create_resource.table_name) || '_document'
    )
    into _document
    using app.current_tenant_id(), app.current_user_id(), _fields;

    return app.success(201, _document);
exception
    when check_violation or not_null_violation then
        get stacked diagnostics _column = column_name, _constraint = constraint_name;
        perform app.refuse_violation(create_resource.table_name, _column, _constraint);
end;
$$;

comment on function app.create_resource(text, jsonb) is
$$Adds a row to a user-owned table, and returns 201 with it.

PT422: a field is not valid.$$;
revoke all on function app.create_resource(text, jsonb) from public;
grant execute on function app.create_resource(text, jsonb) to cardbase_api;
