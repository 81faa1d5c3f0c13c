-- Sets the caller of the transaction where that need not be a user: what it then does belongs to the tenant.
--   tenant_id, user_id   the caller's tenant and user; null: no user
create or replace function app.set_optional_caller(tenant_id uuid, user_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    perform
        set_config('app.current_tenant_id', set_optional_caller.tenant_id::text, true),
        set_config('app.current_user_id', set_optional_caller.user_id::text, true);
end;
$$;

comment on function app.set_optional_caller(uuid, uuid) is
$$Sets the caller of the transaction: a user, or a tenant as such.$$;
revoke all on function app.set_optional_caller(uuid, uuid) from public;
grant execute on function app.set_optional_caller(uuid, uuid) to cardbase_api;
