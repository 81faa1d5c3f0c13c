-- Creates a user, and signs it in.
--   tenant_id       the tenant it belongs to; the gateway checks whether the caller may choose it
--   email           at most 254 characters; unique among all tenants, whether in upper or lower case
--   password_hash   an argon2id hash, in its own encoding
--   display_name    1 to 100 characters; null: none
--   token_hash      SHA-256 of its first refresh token
--   valid_days      how long that token is valid
-- Returns 201 with the user.
-- Errors: PT409 conflict, somebody has the email address; PT422 validation_error.
create or replace function api.register_user(
    tenant_id uuid,
    email text,
    password_hash text,
    display_name text,
    token_hash bytea,
    valid_days integer
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _user_id constant uuid := app.uuid_v7();
    _email constant text := lower(register_user.email collate "C");
    _reply api.reply;
begin
    perform app.set_caller(register_user.tenant_id, _user_id);

    _reply := app.create_resource(
        'users', jsonb_build_object('email', _email, 'display_name', register_user.display_name)
    );

    if not app.store_credentials(_email, register_user.password_hash, register_user.tenant_id, _user_id) then
        raise exception using
            errcode = 'PT409',
            message = 'this email address is taken',
            detail = 'A user signs in with it.',
            hint = 'Sign in, or register with another address.',
            column = 'email',
            constraint = 'conflict';
    end if;

    perform app.open_session(register_user.token_hash, register_user.valid_days);

    return _reply;
end;
$$;

comment on function api.register_user(uuid, text, text, text, bytea, integer) is
$$Creates a user, and signs it in.

@internal
PT409: somebody has the email address. PT422: a field is not valid.$$;
alter function api.register_user(uuid, text, text, text, bytea, integer) owner to cardbase_api;
revoke all on function api.register_user(uuid, text, text, text, bytea, integer) from public;
grant execute on function api.register_user(uuid, text, text, text, bytea, integer) to cardbase_gateway;
