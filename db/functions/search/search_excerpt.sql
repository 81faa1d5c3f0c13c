-- The part of a text that a search found it by, in two forms: {"snippet", "highlight"}.
--   body    the text; up to 200 characters are shown as a whole, and only the first 10,000 are searched, as that takes
--           time
--   query   what was searched for
-- snippet is plain text. highlight is the same as HTML, with <mark> around each word found and everything else escaped,
-- so that a page may show it whatever the text contains.
create or replace function app.search_excerpt(body text, query tsquery)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Marked by characters that are removed from the text first, so that only words found are marked in the end.
    _marked constant text := ts_headline(
        'pg_catalog.english',
        replace(replace(left(search_excerpt.body, 10000), e'\x01', ''), e'\x02', ''),
        search_excerpt.query,
        e'StartSel=\x01, StopSel=\x02, '
        || case
            when length(search_excerpt.body) <= 200 then 'HighlightAll=true'
            else 'MaxFragments=2, MinWords=10, MaxWords=30, FragmentDelimiter=" … "'
        end
    );
    _html text := _marked;
begin
    _html := replace(replace(replace(_html, '&', '&amp;'), '<', '&lt;'), '>', '&gt;');
    _html := replace(replace(_html, '"', '&quot;'), '''', '&#39;');
    return jsonb_build_object(
        'snippet', replace(replace(_marked, e'\x01', ''), e'\x02', ''),
        'highlight', replace(replace(_html, e'\x01', '<mark>'), e'\x02', '</mark>')
    );
end;
$$;

comment on function app.search_excerpt(text, tsquery) is
$$The part of a text that a search found it by: as plain text, and as HTML with the words found marked.$$;
revoke all on function app.search_excerpt(text, tsquery) from public;
grant execute on function app.search_excerpt(text, tsquery) to cardbase_api;
