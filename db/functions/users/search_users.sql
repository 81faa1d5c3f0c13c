-- Searches the users of the caller's tenant by name or email address.
--   tenant_id, user_id   the caller's tenant and user
--   q                    the beginning of a name or an address, or a similar name; 1 to 100 characters
--   limit                how many to return at most, 1 to 50; null: 10
-- Returns 200 with a list of {id, display_name, avatar_url}, the best first: nothing else of another user is shown.
-- Errors: PT401 unauthenticated, the caller is not a user; PT422 validation_error.
create or replace function api.search_users(tenant_id uuid, user_id uuid, q text, "limit" integer default 10)
returns api.reply
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _q constant text := lower(btrim(search_users.q));
    _limit constant integer := coalesce(search_users."limit", 10);
begin
    perform app.set_caller(search_users.tenant_id, search_users.user_id);
    perform app.check_range('limit', _limit, 1, 50);

    if (length(_q) between 1 and 100) is not true then
        raise exception using
            errcode = 'PT422',
            message = 'q is not valid',
            detail = 'Expected 1 to 100 characters that are not all blank.',
            hint = 'Send the beginning of a name or an email address.',
            column = 'q',
            constraint = 'validation_error';
    end if;

    return app.success(200, app.find_users(search_users.tenant_id, _q, _limit));
end;
$$;

comment on function api.search_users(uuid, uuid, text, integer) is
$$Searches the users of the caller's tenant by the beginning of a name or email address, or by a similar name.

Returns at most limit users (1 to 50, else 10) by id, display_name and avatar_url, the best first.

PT401: the caller is not a user. PT422: q or limit is not valid.$$;
alter function api.search_users(uuid, uuid, text, integer) owner to cardbase_api;
revoke all on function api.search_users(uuid, uuid, text, integer) from public;
grant execute on function api.search_users(uuid, uuid, text, integer) to cardbase_gateway, cardbase_service;
