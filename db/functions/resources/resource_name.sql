-- One row of a table, in words: memory for memories. Documents and error codes are named after it.
create or replace function app.resource_name(table_name text)
returns text
language sql
immutable
parallel safe
return regexp_replace(regexp_replace(resource_name.table_name, 's$', ''), 'ie$', 'y');

comment on function app.resource_name(text) is
$$The name of one row of a table: memory for memories.$$;
revoke all on function app.resource_name(text) from public;
grant execute on function app.resource_name(text) to cardbase_api;
