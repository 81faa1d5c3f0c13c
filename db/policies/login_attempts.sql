alter table app.login_attempts enable row level security;
alter table app.login_attempts force row level security;

drop policy if exists "the authenticator counts attempts" on app.login_attempts;
create policy "the authenticator counts attempts" on app.login_attempts
to cardbase_authenticator
using (true)
with check (true);

-- Maintenance works across tenants, and the policy shows it nothing but what has expired.
drop policy if exists "maintenance sees what has expired" on app.login_attempts;
create policy "maintenance sees what has expired" on app.login_attempts
to cardbase_maintenance
using (expires_at <= now());

revoke all on table app.login_attempts from public;
grant select, insert, update on table app.login_attempts to cardbase_authenticator;
-- "for update skip locked" needs the right to update one column.
grant select (tenant_id, subject, expires_at), update (expires_at), delete
on table app.login_attempts to cardbase_maintenance;
