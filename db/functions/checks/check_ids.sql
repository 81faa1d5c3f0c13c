-- Refuses a list of ids that is empty, too long, or holds a null.
--   field   the field's name, as the caller knows it
--   ids     what the caller sent
-- Errors: PT422 validation_error, the column naming the field.
create or replace function app.check_ids(field text, ids uuid[])
returns void
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    if cardinality(check_ids.ids) between 1 and 1000
        and array_ndims(check_ids.ids) = 1
        and array_position(check_ids.ids, null) is null
    then
        return;
    end if;

    raise exception using
        errcode = 'PT422',
        message = format('%s is not valid', check_ids.field),
        detail = format(
            'Expected a list of 1 to 1,000 UUIDs, none of them null, got %s.', coalesce(cardinality(check_ids.ids), 0)
        ),
        hint = 'Request at most 1,000 at a time.',
        column = check_ids.field,
        constraint = 'validation_error';
end;
$$;

comment on function app.check_ids(text, uuid[]) is
$$Refuses a list of ids that is empty, too long, or holds a null.

PT422: fewer than 1 or more than 1,000 ids, or a null among them; the error's column names the field.$$;
revoke all on function app.check_ids(text, uuid[]) from public;
grant execute on function app.check_ids(text, uuid[]) to cardbase_api;
