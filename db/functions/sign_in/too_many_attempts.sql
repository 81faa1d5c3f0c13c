-- The reply to one attempt too many: 429 with Retry-After. A reply and not an error: what was counted has to stay.
--   seconds   how long to wait
create or replace function app.too_many_attempts(seconds integer)
returns api.reply
language sql
immutable
parallel safe
return row(429, jsonb_build_object('Retry-After', too_many_attempts.seconds::text), null, null)::api.reply;

comment on function app.too_many_attempts(integer) is
$$The reply to one attempt too many: 429, and how long to wait.$$;
revoke all on function app.too_many_attempts(integer) from public;
grant execute on function app.too_many_attempts(integer) to cardbase_api;
