-- Whether JSON has a number of more than 1,000 digits on both sides of the point together, as it is written out.
-- Parts of an array are looked at one by one: the text of a short one, such as a card, is made faster than it is
-- searched for numbers.
create or replace function app.has_long_number(value jsonb)
returns boolean
language sql
immutable
parallel safe
return (
    with part as (
        select part.value
        from
            jsonb_array_elements(
                case
                    when jsonb_typeof(has_long_number.value) = 'array' then has_long_number.value
                    else jsonb_build_array(has_long_number.value)
                end
            ) as part (value)
        where pg_column_size(part.value) >= 1000 or octet_length(part.value::text) > 1000
    )

    select exists(
        select
        from part
        cross join
            lateral jsonb_array_elements(jsonb_path_query_array(part.value, 'strict $.** ? (@.abs() >= 0)'))
                as number (value)
        where
            octet_length(number.value::text) > 1000
            and length(translate(number.value::text, '-.', '')) > 1000
    )
);

comment on function app.has_long_number(jsonb) is
$$Whether JSON has a number of more than 1,000 digits on both sides of the point together.$$;
revoke all on function app.has_long_number(jsonb) from public;
grant execute on function app.has_long_number(jsonb) to cardbase_api;
