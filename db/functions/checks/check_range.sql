-- Refuses a number that is out of its range.
--   field              the field's name, as the caller knows it
--   value              what the caller sent; null is refused
--   minimum, maximum   the least and the greatest number allowed
-- Errors: PT422 validation_error, the column naming the field.
create or replace function app.check_range(field text, value integer, minimum integer, maximum integer)
returns void
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    if (check_range.value between check_range.minimum and check_range.maximum) is not true then
        raise exception using
            errcode = 'PT422',
            message = format('%s is out of range', check_range.field),
            detail = format(
                'Expected %s to %s, got %s.',
                check_range.minimum,
                check_range.maximum,
                coalesce(check_range.value::text, 'nothing')
            ),
            hint = 'Send a whole number within the range.',
            column = check_range.field,
            constraint = 'validation_error';
    end if;
end;
$$;

comment on function app.check_range(text, integer, integer, integer) is
$$Refuses a number that is out of its range.

PT422: the value is null, below the minimum or above the maximum; the error's column names the field.$$;
revoke all on function app.check_range(text, integer, integer, integer) from public;
grant execute on function app.check_range(text, integer, integer, integer) to cardbase_api;
