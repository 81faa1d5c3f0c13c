-- Sets the caller of the transaction: from here on the policies of user-owned tables show that user's rows only.
--   tenant_id, user_id   the caller's tenant and user
-- Errors: PT401 unauthenticated, one of them is missing: a service's token names no user.
create or replace function app.set_caller(tenant_id uuid, user_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    if set_caller.tenant_id is null or set_caller.user_id is null then
        raise exception using
            errcode = 'PT401',
            message = 'this call needs a user',
            detail = 'The caller is not a user.',
            hint = 'Send a user''s token, with the claim sub.',
            constraint = 'unauthenticated';
    end if;

    perform
        set_config('app.current_tenant_id', set_caller.tenant_id::text, true),
        set_config('app.current_user_id', set_caller.user_id::text, true);
end;
$$;

comment on function app.set_caller(uuid, uuid) is
$$Sets the caller of the transaction: a user of a tenant.

PT401: the tenant or the user is missing.$$;
revoke all on function app.set_caller(uuid, uuid) from public;
grant execute on function app.set_caller(uuid, uuid) to cardbase_api;
