alter table app.announcement_secret enable row level security;
alter table app.announcement_secret force row level security;

-- The role that reads password hashes keeps this secret, too.
drop policy if exists "the authenticator reads the secret" on app.announcement_secret;
create policy "the authenticator reads the secret" on app.announcement_secret
for select
to cardbase_authenticator
using (true);

revoke all on table app.announcement_secret from public;
grant select on table app.announcement_secret to cardbase_authenticator;
