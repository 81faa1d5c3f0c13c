-- The text of a card: the strings of its content at any depth, one per line, at most 100,000 characters in all. Keys
-- are not part of it. As one array, because jsonb_path_query takes a time that grows with the square of their number.
create or replace function app.card_text(content jsonb)
returns text
language sql
immutable
parallel safe
return (
    select left(string_agg(string.value, e'\n'), 100000)
    from jsonb_array_elements_text(
        jsonb_path_query_array(card_text.content, 'strict $.** ? (@.type() == "string")')
    ) as string (value)
);

comment on function app.card_text(jsonb) is
$$The text of a card: the strings of its content, one per line.$$;
revoke all on function app.card_text(jsonb) from public;
grant execute on function app.card_text(jsonb) to cardbase_owner, cardbase_api, cardbase_maintenance;
