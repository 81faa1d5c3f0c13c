-- What belongs to a user of a tenant: one policy and the same grants for each of these tables.
-- Functions delete their rows by an update only: deletion is soft.
do $do$
declare
    _table text;
begin
    foreach _table in array array[
        'users',
        'user_preferences',
        'refresh_tokens',
        'memories',
        'conversations',
        'messages',
        'tasks',
        'integrations',
        'resource_totals'
    ] loop
        execute format('alter table app.%I enable row level security', _table);
        execute format('alter table app.%I force row level security', _table);
        execute format('drop policy if exists "a user''s rows are the user''s own" on app.%I', _table);
        execute format(
            'create policy "a user''s rows are the user''s own" on app.%I to cardbase_api '
            'using (tenant_id = app.current_tenant_id() and user_id = app.current_user_id()) '
            'with check (tenant_id = app.current_tenant_id() and user_id = app.current_user_id())',
            _table
        );
        execute format('revoke all on table app.%I from public', _table);
        execute format('grant select, insert, update on table app.%I to cardbase_api', _table);
    end loop;
end;
$do$;
