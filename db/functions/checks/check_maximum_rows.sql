-- Refuses a number of rows that is too large, or too small, for one call of a purge.
--   maximum_rows   what the caller sent: 1 to 100,000; null is refused
-- Errors: 22023, it is out of range.
create or replace function app.check_maximum_rows(maximum_rows integer)
returns void
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    if (check_maximum_rows.maximum_rows between 1 and 100000) is not true then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = 'maximum_rows is out of range',
            detail = format(
                'Expected 1 to 100,000, got %s.', coalesce(check_maximum_rows.maximum_rows::text, 'nothing')
            ),
            hint = 'Call with fewer rows, more often.';
    end if;
end;
$$;

comment on function app.check_maximum_rows(integer) is
$$Refuses a number of rows that is too large, or too small, for one call of a purge.

22023: the number is null, less than 1 or more than 100,000.$$;
revoke all on function app.check_maximum_rows(integer) from public;
grant execute on function app.check_maximum_rows(integer) to cardbase_maintenance;
