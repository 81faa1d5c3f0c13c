-- Refuses a call for a row that the user does not have, in the same words whether it never existed, was deleted, or
-- belongs to another user or tenant.
--   table_name   the table, such as memories
--   id           the row
--   field        where the caller named it
-- Errors: PT404 <resource>_not_found, always.
create or replace function app.resource_not_found(table_name text, id uuid, field text default 'id')
returns void
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    _name constant text := app.resource_name(resource_not_found.table_name);
begin
    raise exception using
        errcode = 'PT404',
        message = format('%s not found', _name),
        detail = concat_ws(' ', 'No', _name, resource_not_found.id, 'is the caller''s own.'),
        hint = 'It never existed, was deleted, or belongs to somebody else.',
        column = resource_not_found.field,
        constraint = _name || '_not_found';
end;
$$;

comment on function app.resource_not_found(text, uuid, text) is
$$Refuses a call for a row that the user does not have.

PT404: always.$$;
revoke all on function app.resource_not_found(text, uuid, text) from public;
grant execute on function app.resource_not_found(text, uuid, text) to cardbase_api;
