-- Refuses messages that can't be stored, before anything is written.
--   messages   1 to 1,000 of {"role", "content", "metadata"?}
--   field      how the caller sent them: "messages", or "" for a single one, whose fields are the call's own
-- Errors: PT422 validation_error, the column naming the first place that is wrong, such as messages[3].role.
-- The table's constraints decide what a field may hold; but they see the messages later, and can't tell the place.
create or replace function app.check_messages(messages jsonb, field text)
returns void
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    _field text;
    _message text;
begin
    if jsonb_typeof(check_messages.messages) is distinct from 'array' then
        _field := check_messages.field;
        _message := 'Expected an array of messages.';
    elsif jsonb_array_length(check_messages.messages) not between 1 and 1000 then
        _field := check_messages.field;
        _message := format('Expected 1 to 1,000 messages, got %s.', jsonb_array_length(check_messages.messages));
    else
        select
            concat_ws(
                '.',
                case
                    when check_messages.field <> '' then format('%s[%s]', check_messages.field, entry.position - 1)
                end,
                fault.field
            ),
            fault.message
        into _field, _message
        from jsonb_array_elements(check_messages.messages) with ordinality as entry (message, position)
        cross join lateral (
            values
            (null, 'Expected an object.', jsonb_typeof(entry.message) = 'object'),
            (
                'role',
                'Expected one of user, assistant, system, tool.',
                jsonb_typeof(entry.message -> 'role') = 'string'
                and entry.message ->> 'role' in ('user', 'assistant', 'system', 'tool')
            ),
            (
                'content',
                'Expected 1 to 100,000 characters.',
                jsonb_typeof(entry.message -> 'content') = 'string'
                and length(entry.message ->> 'content') between 1 and 100000
            ),
            (
                'metadata',
                'Expected an object.',
                coalesce(jsonb_typeof(entry.message -> 'metadata'), 'null') in ('object', 'null')
            )
        ) as fault (field, message, is_right)
        where fault.is_right is not true
        order by entry.position, fault.field nulls first
        limit 1;
    end if;

    if _message is not null then
        raise exception using
            errcode = 'PT422',
            message = 'the messages are not valid',
            detail = _message,
            hint = 'Send {"role": …, "content": …} for each message. Nothing was stored.',
            column = _field,
            constraint = 'validation_error';
    end if;

    -- A smaller one can't be too long: see app.check_json.
    perform app.check_json(format('%s[%s].metadata', check_messages.field, entry.position - 1), entry.message -> 'metadata')
    from jsonb_array_elements(check_messages.messages) with ordinality as entry (message, position)
    where pg_column_size(entry.message) > 95000;
end;
$$;

comment on function app.check_messages(jsonb, text) is
$$Refuses messages that can't be stored.

PT422: the first place that is wrong, named by the error's column.$$;
revoke all on function app.check_messages(jsonb, text) from public;
grant execute on function app.check_messages(jsonb, text) to cardbase_api;
