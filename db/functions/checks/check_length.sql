-- Refuses a text that is too long for its field.
--   field     the field's name, as the caller knows it
--   value     what the caller sent; null is never too long
--   maximum   in characters
-- Errors: PT422 validation_error, the column naming the field.
create or replace function app.check_length(field text, value text, maximum integer)
returns void
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    if length(check_length.value) > check_length.maximum then
        raise exception using
            errcode = 'PT422',
            message = format('%s is too long', check_length.field),
            detail = format(
                'Expected at most %s characters, got %s.', check_length.maximum, length(check_length.value)
            ),
            hint = 'Shorten the value. Nothing was stored.',
            column = check_length.field,
            constraint = 'validation_error';
    end if;
end;
$$;

comment on function app.check_length(text, text, integer) is
$$Refuses a text that is too long for its field.

PT422: the value has more than maximum characters; the error's column names the field.$$;
revoke all on function app.check_length(text, text, integer) from public;
grant execute on function app.check_length(text, text, integer) to cardbase_api;
