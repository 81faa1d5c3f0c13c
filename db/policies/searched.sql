-- What search needs, in addition to the tables' own files: the finder sees all rows (the reason is given with its
-- policy on app.cards), but only the columns by which it finds and ranks them.
do $do$
declare
    _table text;
begin
    foreach _table in array array['memories', 'messages', 'tasks'] loop
        execute format('drop policy if exists "the finder searches all rows" on app.%I', _table);
        execute format(
            'create policy "the finder searches all rows" on app.%I for select to cardbase_finder using (true)', _table
        );
        execute format(
            'grant select (tenant_id, user_id, id, search_vector, deleted_at) on table app.%I to cardbase_finder', _table
        );
    end loop;
end;
$do$;

grant select (title) on table app.tasks to cardbase_finder;

-- Embeddings are computed for all users of a tenant at a time.
drop policy if exists "maintenance reads a tenant's memories" on app.memories;
create policy "maintenance reads a tenant's memories" on app.memories
for select
to cardbase_maintenance
using (tenant_id = app.current_tenant_id() and deleted_at is null);

grant select (tenant_id, user_id, id, content, deleted_at) on table app.memories to cardbase_maintenance;
