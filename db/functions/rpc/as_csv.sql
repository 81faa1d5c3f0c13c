-- JSON rows as CSV (RFC 4180, lines ended by \n).
--   rows   an array of objects that all have the first one's keys, or of other values; anything else is the only row
-- Returns a line of names and a line for each row, without a last \n; '' when there is no row. Null is nothing at all
-- and the empty text is "", so that the two can be told apart; objects and arrays are JSON text. What isn't an object
-- is a column called value.
create or replace function api.as_csv(rows json)
returns text
language sql
immutable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
    with listed as (
        select
            item.position,
            case when json_typeof(item.value) = 'object' then item.value else json_build_object('value', item.value) end as row
        from json_array_elements(
            case when json_typeof(as_csv.rows) = 'array' then as_csv.rows else json_build_array(as_csv.rows) end
        ) with ordinality as item (value, position)
    ),

    field as (
        select
            listed.position,
            field.place,
            field.name,
            field.value
        from listed
        cross join json_each_text(listed.row) with ordinality as field (name, value, place)
        union all
        select
            0,
            field.place,
            field.name,
            field.name
        from listed
        cross join json_object_keys(listed.row) with ordinality as field (name, place)
        where listed.position = 1
    ),

    line as (
        select
            field.position,
            string_agg(
                case
                    when field.value is null then ''
                    when field.value = '' or field.value ~ '[",\r\n]' then '"' || replace(field.value, '"', '""') || '"'
                    else field.value
                end,
                ','
                order by field.place
            ) as text
        from field
        group by field.position
    )

    select coalesce(string_agg(line.text, E'\n' order by line.position), '')
    from line
$$;

comment on function api.as_csv(json) is
$$JSON rows as CSV, with a line of names.

@internal$$;
alter function api.as_csv(json) owner to cardbase_api;
revoke all on function api.as_csv(json) from public;
grant execute on function api.as_csv(json) to cardbase_gateway, cardbase_service;
