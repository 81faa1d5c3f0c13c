-- What full text search finds a card by: the strings of its content. See app.text_vector.
-- jsonb_to_tsvector takes half the time of app.card_text, but can't be limited to a number of characters: hence two
-- ways.
create or replace function app.card_vector(content jsonb)
returns tsvector
language sql
immutable
parallel safe
return setweight(
    to_tsvector('pg_catalog.english', coalesce(app.card_title(card_vector.content), '')), 'A'
) || case
    when length(card_vector.content::text) <= 100000
        then jsonb_to_tsvector('pg_catalog.english', card_vector.content, '["string"]')
    else to_tsvector('pg_catalog.english', coalesce(app.card_text(card_vector.content), ''))
end;

comment on function app.card_vector(jsonb) is
$$What full text search finds a card by: the stems of the words in its content's strings, its name before the rest.$$;
revoke all on function app.card_vector(jsonb) from public;
grant execute on function app.card_vector(jsonb) to cardbase_owner, cardbase_api, cardbase_maintenance;
