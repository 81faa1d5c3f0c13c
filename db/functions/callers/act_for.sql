-- Applies the caller to the transaction where it need not be a user: then what it does is the tenant's own.
--   tenant_id, user_id   the caller's tenant and user; no user: null
create or replace function app.act_for(tenant_id uuid, user_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    perform
        set_config('app.current_tenant_id', act_for.tenant_id::text, true),
        set_config('app.current_user_id', act_for.user_id::text, true);
end;
$$;

comment on function app.act_for(uuid, uuid) is
$$Applies the caller, a user or a tenant as such, to the transaction.$$;
revoke all on function app.act_for(uuid, uuid) from public;
grant execute on function app.act_for(uuid, uuid) to cardbase_api;
