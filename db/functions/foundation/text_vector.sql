-- What full text search finds a text by: its words, reduced to their stems, with their places.
--   title   its name, whose words count most; null: none
--   body    the text itself; null: none
-- English stems and stop words; words of other languages are found as they are written.
-- Only the first 100,000 characters count: the words of more might not fit into a tsvector, and storing the row would
-- fail. Tables store what this returns, so a change here needs a migration that computes it again.
create or replace function app.text_vector(title text, body text)
returns tsvector
language sql
immutable
parallel safe
return setweight(to_tsvector('pg_catalog.english', left(coalesce(text_vector.title, ''), 500)), 'A')
|| to_tsvector('pg_catalog.english', left(coalesce(text_vector.body, ''), 100000));

comment on function app.text_vector(text, text) is
$$What full text search finds a text by: its words' stems, those of the title before those of the body.$$;
revoke all on function app.text_vector(text, text) from public;
grant execute on function app.text_vector(text, text) to cardbase_owner, cardbase_api;
