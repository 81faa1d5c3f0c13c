-- The tenant of the running transaction, as every row-level security policy reads it.
-- Returns null when no tenant is set: then policies show nothing and let nothing in.
-- After a transaction a custom setting is the empty string, not null, hence nullif.
-- One inlinable expression: a policy that calls it costs no function call.
create or replace function app.current_tenant_id()
returns uuid
language sql
stable
parallel safe
return nullif(current_setting('app.current_tenant_id', true), '')::uuid;

comment on function app.current_tenant_id() is
$$Tenant of the running transaction, null when none is set.

Read from the setting app.current_tenant_id, which each function of schema api sets first.$$;
revoke all on function app.current_tenant_id() from public;
grant execute on function app.current_tenant_id()
to cardbase_owner, cardbase_api, cardbase_maintenance, cardbase_finder, cardbase_dispatcher;
