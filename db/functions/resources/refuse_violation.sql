-- Refuses a row that violates a constraint of its table, in words for the caller: the field is the column, or the one
-- that the constraint is named after (<table>_<field>_check); what is wrong is the constraint's comment.
--   table_name, column_name, constraint_name   from the server's diagnostics
-- Errors: PT422 validation_error, always.
create or replace function app.refuse_violation(table_name text, column_name text, constraint_name text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    _field constant text := coalesce(
        nullif(refuse_violation.column_name, ''),
        regexp_replace(refuse_violation.constraint_name, format('^%s_(.*)_check$', refuse_violation.table_name), '\1')
    );
begin
    raise exception using
        errcode = 'PT422',
        message = format('%s is not valid', _field),
        detail = coalesce(
            (
                select obj_description(refusing.oid, 'pg_constraint')
                from pg_constraint as refusing
                where
                    refusing.conrelid = format('app.%I', refuse_violation.table_name)::regclass
                    and refusing.conname = refuse_violation.constraint_name
            ),
            'A value is required.'
        ),
        hint = 'Nothing was stored.',
        column = _field,
        constraint = 'validation_error';
end;
$$;

comment on function app.refuse_violation(text, text, text) is
$$Refuses a row that violates a constraint, in the words of the constraint's comment.

PT422: always.$$;
revoke all on function app.refuse_violation(text, text, text) from public;
grant execute on function app.refuse_violation(text, text, text) to cardbase_api;
