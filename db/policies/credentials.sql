alter table app.credentials enable row level security;
alter table app.credentials force row level security;

-- Signing in comes before any tenant is known, and its role may read nothing else.
drop policy if exists "the authenticator finds who signs in" on app.credentials;
create policy "the authenticator finds who signs in" on app.credentials
to cardbase_authenticator
using (true)
with check (true);

revoke all on table app.credentials from public;
grant select, insert on table app.credentials to cardbase_authenticator;
