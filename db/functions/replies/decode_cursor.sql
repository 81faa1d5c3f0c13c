-- The key below which a page begins, in a list that is read from the greatest key down.
--   scope    app.request_fingerprint of the list, as given to app.encode_cursor
--   cursor   what the caller sent; null begins at the start
-- Returns the key of the last row of the previous page; for the first page the greatest uuid, which no row has.
-- Errors: PT422 validation_error, the column naming cursor: not a cursor, or one for another list, tenant or filter.
create or replace function app.decode_cursor(scope bytea, cursor text)
returns uuid
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    _last_id uuid;
begin
    if decode_cursor.cursor is null then
        return 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid;
    end if;

    -- 32 characters of base64 are 24 bytes whatever they are, so this can't fail.
    if decode_cursor.cursor ~ '^[A-Za-z0-9_-]{32}$' then
        _last_id := encode(
            substring(decode(translate(decode_cursor.cursor, '-_', '+/'), 'base64') from 1 for 16), 'hex'
        )::uuid;
    end if;

    if app.encode_cursor(decode_cursor.scope, _last_id) is distinct from decode_cursor.cursor then
        raise exception using
            errcode = 'PT422',
            message = 'cursor is not valid',
            detail = 'Expected the next_cursor of the page before, of the same list with the same filters.',
            hint = 'Send next_cursor as it was returned, or no cursor to begin at the start.',
            column = 'cursor',
            constraint = 'validation_error';
    end if;

    return _last_id;
end;
$$;

comment on function app.decode_cursor(bytea, text) is
$$The key below which a page begins, read from its cursor; without a cursor, the greatest uuid.

PT422: not a cursor, or one of another list, tenant or filter.$$;
revoke all on function app.decode_cursor(bytea, text) from public;
grant execute on function app.decode_cursor(bytea, text) to cardbase_api;
