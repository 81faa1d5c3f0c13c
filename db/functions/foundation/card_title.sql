-- The name of a card: the string name of its content, else the string title, else null.
create or replace function app.card_title(content jsonb)
returns text
language sql
immutable
parallel safe
return case
    when jsonb_typeof(card_title.content -> 'name') = 'string' then left(card_title.content ->> 'name', 500)
    when jsonb_typeof(card_title.content -> 'title') = 'string' then left(card_title.content ->> 'title', 500)
end;

comment on function app.card_title(jsonb) is
$$The name of a card: the string name of its content, else the string title.$$;
revoke all on function app.card_title(jsonb) from public;
grant execute on function app.card_title(jsonb) to cardbase_owner, cardbase_api, cardbase_maintenance;
