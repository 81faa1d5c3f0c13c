-- Refuses a parameter of a function for workers that is out of its range. Those call plain SQL: their mistakes are
-- SQLSTATEs, and not HTTP statuses as with app.check_range.
--   name      the parameter's name
--   value     what the caller sent: 1 to maximum; null is refused
--   maximum   the greatest number allowed
-- Errors: 22023, it is out of range.
create or replace function app.check_parameter(name text, value integer, maximum integer)
returns void
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    if (check_parameter.value between 1 and check_parameter.maximum) is not true then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = format('%s is out of range', check_parameter.name),
            detail = format(
                'Expected 1 to %s, got %s.',
                to_char(check_parameter.maximum, 'FM999,999,999'),
                coalesce(check_parameter.value::text, 'nothing')
            ),
            hint = 'Pass a whole number within the range.';
    end if;
end;
$$;

comment on function app.check_parameter(text, integer, integer) is
$$Refuses a parameter of a function for workers that is out of its range.

22023: the value is null, less than 1 or more than the maximum.$$;
revoke all on function app.check_parameter(text, integer, integer) from public;
grant execute on function app.check_parameter(text, integer, integer) to cardbase_maintenance;
