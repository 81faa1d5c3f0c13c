-- Deletes a row of a user-owned table: it stays, but is no longer found.
--   table_name   the table
--   id           the row
-- Returns 204. Of two concurrent deletions one succeeds: the other waits for the lock and then finds no such row.
-- Errors: PT404 <resource>_not_found, also the second time.
create or replace function app.delete_resource(table_name text, id uuid)
returns api.reply
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    _deleted bigint;
begin
    execute format(
        $sql$
        update app.%I as resource
        set deleted_at = clock_timestamp()
        where
            resource.tenant_id = $1
            and resource.user_id = $2
            and resource.id = $3
            and resource.deleted_at is null
        $sql$,
        delete_resource.table_name
    )
    using app.current_tenant_id(), app.current_user_id(), delete_resource.id;

    get diagnostics _deleted = row_count;
    if _deleted = 0 then
        perform app.resource_not_found(delete_resource.table_name, delete_resource.id);
    end if;

    return row(204, null, null, null)::api.reply;
end;
$$;

comment on function app.delete_resource(text, uuid) is
$$Deletes a row of a user-owned table, and returns 204. The row stays, but is no longer found.

PT404: the user has no such row, or it was deleted before.$$;
revoke all on function app.delete_resource(text, uuid) from public;
grant execute on function app.delete_resource(text, uuid) to cardbase_api;
