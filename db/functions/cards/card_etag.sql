-- A card's ETag, in its double quotes: "3-17" for version 3, used 17 times.
--   version       the card's version
--   usage_count   its usage, null when it was never used
-- Strong (RFC 9110, section 8.8.1): the count is in it because a card's body shows its usage.
create or replace function app.card_etag(version integer, usage_count bigint)
returns text
language sql
immutable
parallel safe
return format('"%s-%s"', card_etag.version, coalesce(card_etag.usage_count, 0));

comment on function app.card_etag(integer, bigint) is
$$A card's ETag, in its double quotes: its version and how often it was used.$$;
revoke all on function app.card_etag(integer, bigint) from public;
grant execute on function app.card_etag(integer, bigint) to cardbase_api;
