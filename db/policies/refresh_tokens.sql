-- In addition to db/policies/user_owned.sql: what has expired is removed, whoever's it is.
drop policy if exists "maintenance sees what has expired" on app.refresh_tokens;
create policy "maintenance sees what has expired" on app.refresh_tokens
to cardbase_maintenance
using (expires_at <= now());

revoke all on table app.refresh_tokens from public;
grant select (tenant_id, user_id, token_hash, expires_at), update (expires_at), delete
on table app.refresh_tokens to cardbase_maintenance;
