-- Refuses JSON that is much longer written out than it was sent: 1e131071 is a few bytes in, and 131,072 digits out.
--   field           the value's name, as the caller knows it; "" where only its members have names
--   value           what the caller sent; null is never refused
--   maximum_bytes   of its text as PostgreSQL writes it
-- Errors: PT422 validation_error, a number has more than 1,000 digits on both sides of the point together: the column
-- names its place, such as cards[3].content.price. PT413 payload_too_large, the text is longer than maximum_bytes.
--
-- Comes before anything else that writes the value out, such as a fingerprint. Its size tells what can't be long: a
-- number of 1,000 digits takes at least 12 bytes, and nothing else grows as much when it is written, so no text is
-- longer than 84 times the size. Only a compressed value, passed as a table stores it, hides its size.
create or replace function app.check_json(field text, value jsonb, maximum_bytes integer default 8000000)
returns void
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    _size constant bigint := case
        when pg_column_compression(check_json.value) is null then pg_column_size(check_json.value)::bigint
        else 1000000000::bigint
    end;
    _place text;
    _bytes bigint;
begin
    if check_json.value is null or (_size < 1000 and octet_length(check_json.value::text) <= 1000) then
        return;
    end if;

    if app.has_long_number(check_json.value) then
        -- Only so deep, because each level is searched again.
        with recursive step (depth, place, value) as (
            select
                0,
                check_json.field,
                check_json.value
            union all
            select
                step.depth + 1,
                step.place || entry.name,
                entry.value
            from step
            cross join lateral (
                select
                    part.name,
                    part.value
                from (
                    select
                        '.' || member.name,
                        member.value
                    from jsonb_each(case when jsonb_typeof(step.value) = 'object' then step.value end)
                        as member (name, value)
                    union all
                    select
                        format('[%s]', item.position - 1),
                        item.value
                    from jsonb_array_elements(case when jsonb_typeof(step.value) = 'array' then step.value end)
                        with ordinality as item (value, position)
                ) as part (name, value)
                where app.has_long_number(part.value)
                limit 1
            ) as entry
            where step.depth < 5
        )

        select ltrim(step.place, '.')
        into _place
        from step
        order by step.depth desc
        limit 1;

        raise exception using
            errcode = 'PT422',
            message = format('%s is too long', _place),
            detail = 'Expected a number of at most 1,000 digits on both sides of the point together.',
            hint = 'Round it, or send it as a string. Nothing was stored.',
            column = _place,
            constraint = 'validation_error';
    end if;

    if _size * 84 <= check_json.maximum_bytes then
        return;
    end if;

    -- The numbers alone first: together they may be too long to be written out.
    select sum(octet_length(number.value::text))
    into _bytes
    from jsonb_array_elements(jsonb_path_query_array(check_json.value, 'strict $.** ? (@.abs() >= 0)')) as number (value);
    if _bytes is null or _bytes <= check_json.maximum_bytes then
        _bytes := octet_length(check_json.value::text)::bigint;
    end if;

    if _bytes > check_json.maximum_bytes then
        raise exception using
            errcode = 'PT413',
            message = concat_ws(' ', nullif(check_json.field, ''), 'is too large'),
            detail = format(
                'Expected at most %s bytes of JSON text, with its numbers written out.',
                to_char(check_json.maximum_bytes, 'FM999,999,999')
            ),
            hint = 'Divide it. Nothing was stored.',
            column = check_json.field,
            constraint = 'payload_too_large';
    end if;
end;
$$;

comment on function app.check_json(text, jsonb, integer) is
$$Refuses JSON that is much longer written out than it was sent.

PT422: a number has more than 1,000 digits; the error's column names its place. PT413: the text is longer than
maximum_bytes.$$;
revoke all on function app.check_json(text, jsonb, integer) from public;
grant execute on function app.check_json(text, jsonb, integer) to cardbase_api;
