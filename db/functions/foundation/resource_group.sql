-- The column by whose values the rows of a table are counted, the one by which its list is filtered most; null: none.
-- Stored totals are kept by it, so a change here needs a migration that counts again.
create or replace function app.resource_group(table_name text)
returns text
language sql
immutable
parallel safe
return case resource_group.table_name
    when 'memories' then 'memory_type'
    when 'messages' then 'conversation_id'
    when 'tasks' then 'status'
    when 'integrations' then 'provider'
end;

comment on function app.resource_group(text) is
$$The column by whose values the rows of a table are counted; null: none.$$;
revoke all on function app.resource_group(text) from public;
grant execute on function app.resource_group(text) to cardbase_owner, cardbase_api;
