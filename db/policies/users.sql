-- In addition to db/policies/user_owned.sql: a tenant's users find each other, by their public names. The finder's
-- functions compare the tenant themselves, and return no column that is not for the whole tenant.
drop policy if exists "the finder searches all users" on app.users;
create policy "the finder searches all users" on app.users
for select
to cardbase_finder
using (true);

grant select (
    tenant_id, user_id, display_name, avatar_url, search_text, deleted_at
) on table app.users to cardbase_finder;
