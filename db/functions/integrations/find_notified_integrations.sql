-- A user's integrations that have the setting notifications, for a worker: the setting itself is encrypted.
--   tenant_id, user_id   the user
-- Returns each with the channels that the user's preferences allow, of push and email; no rows where they allow none.
-- At most 100, the oldest, which bounds what one notification costs.
create or replace function app.find_notified_integrations(tenant_id uuid, user_id uuid)
returns table (id uuid, channels text[])
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _channels text[];
begin
    perform
        set_config('app.current_tenant_id', find_notified_integrations.tenant_id::text, true),
        set_config('app.current_user_id', find_notified_integrations.user_id::text, true);

    select
        array_remove(
            array[
                case when preference.push_notifications then 'push' end,
                case when preference.email_notifications then 'email' end
            ],
            null
        )
    into _channels
    from app.user_preferences as preference
    where
        preference.tenant_id = find_notified_integrations.tenant_id
        and preference.user_id = find_notified_integrations.user_id;
    if not found then -- the preferences were never changed
        _channels := array['push', 'email'];
    end if;

    return query
    select
        integration.id,
        _channels
    from app.integrations as integration
    where
        integration.tenant_id = find_notified_integrations.tenant_id
        and integration.user_id = find_notified_integrations.user_id
        and integration.deleted_at is null
        and 'notifications' = any(integration.setting_names)
        and cardinality(_channels) > 0
    order by integration.id
    limit 100;
end;
$$;

comment on function app.find_notified_integrations(uuid, uuid) is
$$A user's integrations that may want notifications, with the channels that the user allows.$$;
alter function app.find_notified_integrations(uuid, uuid) owner to cardbase_maintenance;
revoke all on function app.find_notified_integrations(uuid, uuid) from public;
grant execute on function app.find_notified_integrations(uuid, uuid) to cardbase_worker;
