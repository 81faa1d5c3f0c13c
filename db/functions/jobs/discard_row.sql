-- Discards each row that would be added to a table: a trigger, for tables that a library writes and nobody reads.
create or replace function app.discard_row()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    return null;
end;
$$;

comment on function app.discard_row() is
$$Discards each row that would be added to a table.$$;
revoke all on function app.discard_row() from public;
