-- The fields of a row that a call writes.
--   fields           all fields that the call could write, by column; a null: the caller left it out
--   cleared_fields   those of them that the caller empties
-- Returns {column: value}, without what was left out; null for what is emptied.
-- Errors: PT422 validation_error, one of cleared_fields is not among fields.
create or replace function app.provided_fields(fields jsonb, cleared_fields text[] default '{}')
returns jsonb
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    _unknown text;
begin
    select cleared.name
    into _unknown
    from unnest(provided_fields.cleared_fields) as cleared (name)
    where (provided_fields.fields ? cleared.name) is not true
    limit 1;

    if found then
        raise exception using
            errcode = 'PT422',
            message = 'there is no such field',
            detail = format('There is no field %s that could be emptied.', coalesce(_unknown, 'null')),
            hint = 'Name fields of the call only.',
            column = 'cleared_fields',
            constraint = 'validation_error';
    end if;

    return (
        select coalesce(jsonb_object_agg(field.name, field.value), '{}')
        from jsonb_each(provided_fields.fields) as field (name, value)
        where field.value <> 'null' or field.name = any(provided_fields.cleared_fields)
    );
end;
$$;

comment on function app.provided_fields(jsonb, text[]) is
$$The fields of a row that a call writes: those provided, and those emptied.

PT422: a field that can't be emptied is named in cleared_fields.$$;
revoke all on function app.provided_fields(jsonb, text[]) from public;
grant execute on function app.provided_fields(jsonb, text[]) to cardbase_api;
