-- The users whose events the running transaction may read, as the policy of app.events reads them: those that
-- api.read_events was called for. Returns null when there are none. Written like app.current_user_id.
create or replace function app.current_listener_ids()
returns uuid[]
language sql
stable
parallel safe
return nullif(current_setting('app.current_listener_ids', true), '')::uuid[];

comment on function app.current_listener_ids() is
$$Users whose events the running transaction may read, null when there are none.

Read from the setting app.current_listener_ids, which api.read_events sets.$$;
revoke all on function app.current_listener_ids() from public;
grant execute on function app.current_listener_ids() to cardbase_owner, cardbase_api;
