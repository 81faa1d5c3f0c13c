-- Whether what happens to the current tenant is recorded: somebody listens, or did within the hour.
-- A transaction whose snapshot is older than its statement (repeatable read) might not see the listeners: then always.
create or replace function app.has_listeners()
returns boolean
language sql
stable
parallel safe
return exists (
    select
    from app.event_subscriptions as subscription
    where
        subscription.tenant_id = app.current_tenant_id()
        and subscription.expires_at > now()
)
or current_setting('transaction_isolation') <> 'read committed';

comment on function app.has_listeners() is
$$Whether what happens to the current tenant is recorded: somebody listens, or did within the hour.$$;
revoke all on function app.has_listeners() from public;
grant execute on function app.has_listeners() to cardbase_api, cardbase_dispatcher;
