-- A reply in the envelope of the core resources: {"success": true, "data", "meta"}.
--   status   HTTP status
--   data     what was requested
--   meta     what to say about it, such as app.page_meta; null: nothing
create or replace function app.success(status integer, data jsonb, meta jsonb default null)
returns api.reply
language sql
immutable
parallel safe
return row(
    success.status, null, jsonb_build_object('success', true, 'data', success.data, 'meta', success.meta), null
)::api.reply;

comment on function app.success(integer, jsonb, jsonb) is
$$A reply in the envelope of the core resources.$$;
revoke all on function app.success(integer, jsonb, jsonb) from public;
grant execute on function app.success(integer, jsonb, jsonb) to cardbase_api;
