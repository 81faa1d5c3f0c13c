-- Gets a row of a user-owned table.
--   table_name   the table
--   id           the row, by the column key
-- Returns 200 with the row, as app.<resource>_document shows it.
-- Errors: PT404 <resource>_not_found; a deleted row is not found either.
create or replace function app.get_resource(table_name text, id uuid, key text default 'id')
returns api.reply
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    _document jsonb;
begin
    execute format(
        $sql$
        select app.%2$I(resource)
        from app.%1$I as resource
        where resource.tenant_id = $1 and resource.user_id = $2 and resource.%3$I = $3 and resource.deleted_at is null
        $sql$,
        get_resource.table_name,
        app.resource_name(get_resource.table_name) || '_document',
        get_resource.key
    )
    into _document
    using app.current_tenant_id(), app.current_user_id(), get_resource.id;

    if _document is null then
        perform app.resource_not_found(get_resource.table_name, get_resource.id);
    end if;

    return app.success(200, _document);
end;
$$;

comment on function app.get_resource(text, uuid, text) is
$$Gets a row of a user-owned table.

PT404: the user has no such row, or it was deleted.$$;
revoke all on function app.get_resource(text, uuid, text) from public;
grant execute on function app.get_resource(text, uuid, text) to cardbase_api;
