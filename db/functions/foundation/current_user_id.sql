-- The user of the running transaction, as the policies of user-owned tables read it.
-- Returns null when no user is set: then they show nothing and let nothing in. Written like app.current_tenant_id.
create or replace function app.current_user_id()
returns uuid
language sql
stable
parallel safe
return nullif(current_setting('app.current_user_id', true), '')::uuid;

comment on function app.current_user_id() is
$$User of the running transaction, null when none is set.

Read from the setting app.current_user_id, which app.set_caller sets.$$;
revoke all on function app.current_user_id() from public;
grant execute on function app.current_user_id()
to cardbase_owner, cardbase_api, cardbase_maintenance, cardbase_finder;
