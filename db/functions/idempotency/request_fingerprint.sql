-- What makes two requests the same: SHA-256 over the function's name and arguments, 32 bytes.
--   function_name   the function called
--   arguments       a JSON array of its arguments
create or replace function app.request_fingerprint(function_name text, arguments jsonb)
returns bytea
language sql
immutable
parallel safe
return app.content_hash(jsonb_build_array(request_fingerprint.function_name, request_fingerprint.arguments));

comment on function app.request_fingerprint(text, jsonb) is
$$SHA-256 over a function's name and arguments: equal for equal requests.$$;
revoke all on function app.request_fingerprint(text, jsonb) from public;
grant execute on function app.request_fingerprint(text, jsonb) to cardbase_api;
