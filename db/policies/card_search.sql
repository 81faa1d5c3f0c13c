do $do$
declare
    _table text;
begin
    foreach _table in array array['card_search', 'card_search_queue'] loop
        execute format('alter table app.%I enable row level security', _table);
        execute format('alter table app.%I force row level security', _table);
        execute format('drop policy if exists "a tenant''s cards are its own" on app.%I', _table);
        -- Maintenance, too, works on one tenant at a time.
        execute format(
            'create policy "a tenant''s cards are its own" on app.%I to cardbase_api, cardbase_maintenance '
            'using (tenant_id = app.current_tenant_id()) with check (tenant_id = app.current_tenant_id())',
            _table
        );
        -- The reason is given with the finder's policy on app.cards.
        execute format('drop policy if exists "the finder searches all rows" on app.%I', _table);
        execute format(
            'create policy "the finder searches all rows" on app.%I for select to cardbase_finder using (true)', _table
        );
        execute format('revoke all on table app.%I from public', _table);
        execute format('grant select, insert, delete on table app.%I to cardbase_api, cardbase_maintenance', _table);
    end loop;
end;
$do$;

grant update on table app.card_search to cardbase_api, cardbase_maintenance;
grant select (tenant_id, card_id, title, search_vector) on table app.card_search to cardbase_finder;
grant select (tenant_id) on table app.card_search_queue to cardbase_finder;

drop policy if exists "maintenance indexes a tenant's cards" on app.cards;
create policy "maintenance indexes a tenant's cards" on app.cards
for select
to cardbase_maintenance
using (tenant_id = app.current_tenant_id());
grant select (tenant_id, card_id, content, is_active, version) on table app.cards to cardbase_maintenance;
