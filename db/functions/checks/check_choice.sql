-- Refuses a value that is not one of a few.
--   field     the field's name, as the caller knows it
--   value     what the caller sent; null is refused
--   choices   the values allowed
-- Errors: PT422 validation_error, the column naming the field.
create or replace function app.check_choice(field text, value text, choices text[])
returns void
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    if (check_choice.value = any(check_choice.choices)) is not true then
        raise exception using
            errcode = 'PT422',
            message = format('%s is not valid', check_choice.field),
            detail = format('Expected one of %s.', array_to_string(check_choice.choices, ', ')),
            hint = 'Send one of these values, spelled as here.',
            column = check_choice.field,
            constraint = 'validation_error';
    end if;
end;
$$;

comment on function app.check_choice(text, text, text[]) is
$$Refuses a value that is not one of a few.

PT422: the value is null or not among the choices; the error's column names the field.$$;
revoke all on function app.check_choice(text, text, text[]) from public;
grant execute on function app.check_choice(text, text, text[]) to cardbase_api;
