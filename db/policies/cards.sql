alter table app.cards enable row level security;
alter table app.cards force row level security;

drop policy if exists "a tenant's cards are its own" on app.cards;
create policy "a tenant's cards are its own" on app.cards
to cardbase_api
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id());

-- Behind a policy that compares anything, "content @> …" can't be an index condition: the operator is not leakproof.
-- The finder's functions compare the tenant themselves, and return ids and numbers only.
drop policy if exists "the finder searches all cards" on app.cards;
create policy "the finder searches all cards" on app.cards
for select
to cardbase_finder
using (true);

revoke all on table app.cards from public;
grant select, insert, update on table app.cards to cardbase_api;
grant select (tenant_id, card_id, card_type, content, source_session_id, created_by, is_active)
on table app.cards to cardbase_finder;
