-- Refuses a value that is not a JSON object.
--   field   the field's name, as the caller knows it
--   value   what the caller sent; null is refused
-- Errors: PT422 validation_error, the column naming the field.
create or replace function app.check_object(field text, value jsonb)
returns void
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    if jsonb_typeof(check_object.value) is distinct from 'object' then
        raise exception using
            errcode = 'PT422',
            message = format('%s is not valid', check_object.field),
            detail = format('Expected an object, got %s.', coalesce(jsonb_typeof(check_object.value), 'nothing')),
            hint = 'Send a JSON object, {…}.',
            column = check_object.field,
            constraint = 'validation_error';
    end if;
end;
$$;

comment on function app.check_object(text, jsonb) is
$$Refuses a value that is not a JSON object.

PT422: the value is null or of another JSON type; the error's column names the field.$$;
revoke all on function app.check_object(text, jsonb) from public;
grant execute on function app.check_object(text, jsonb) to cardbase_api;
