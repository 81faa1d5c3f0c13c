-- An integration as callers see it.
-- The settings themselves are write-only: only their names are shown. sync_status is null until the service was called.
create or replace function app.integration_document(integration app.integrations)
returns jsonb
language sql
stable
parallel safe
return jsonb_build_object(
    'id', (integration_document.integration).id,
    'provider', (integration_document.integration).provider,
    'setting_names', (integration_document.integration).setting_names,
    'sync_status', case
        when (integration_document.integration).sync_error is not null then 'failed'
        when (integration_document.integration).last_synced_at is not null then 'succeeded'
    end,
    'sync_error', (integration_document.integration).sync_error,
    'last_synced_at', (integration_document.integration).last_synced_at,
    'created_at', (integration_document.integration).created_at,
    'updated_at', (integration_document.integration).updated_at
);

comment on function app.integration_document(app.integrations) is
$$An integration as callers see it: its row as one JSON object.$$;
revoke all on function app.integration_document(app.integrations) from public;
grant execute on function app.integration_document(app.integrations) to cardbase_api;
