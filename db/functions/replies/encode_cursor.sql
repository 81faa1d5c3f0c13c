-- The cursor of a page's end, where the next page begins. Callers send it back as it is.
--   scope     app.request_fingerprint of the list, with all that decides which rows are in it
--   last_id   the key of the page's last row
-- Returns 32 characters that need no escaping in a URL: base64url of the key's 16 bytes and 8 bytes of a check. The
-- check is not a secret, only a guard against a cursor of another list, tenant or filter, a mistyped one, and one in
-- another format: a new format gets a new first byte.
create or replace function app.encode_cursor(scope bytea, last_id uuid)
returns text
language sql
immutable
parallel safe
return translate(
    encode(
        uuid_send(encode_cursor.last_id)
        || substring(sha256('\x01'::bytea || encode_cursor.scope || uuid_send(encode_cursor.last_id)) from 1 for 8),
        'base64'
    ),
    '+/',
    '-_'
);

comment on function app.encode_cursor(bytea, uuid) is
$$The opaque cursor of a page that ends with a key, for one list and its filters.$$;
revoke all on function app.encode_cursor(bytea, uuid) from public;
grant execute on function app.encode_cursor(bytea, uuid) to cardbase_api;
