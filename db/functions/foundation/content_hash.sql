-- SHA-256 of the canonical text of a card's content: 32 bytes.
-- jsonb keeps one order of keys, no white space and the last of duplicate keys, so its text is canonical.
-- Stored hashes were computed by this very expression: a change needs a migration that rewrites app.cards.
-- Declared immutable although convert_to is only stable: a conversion to UTF8 depends on the database's encoding
-- alone, which never changes.
create or replace function app.content_hash(content jsonb)
returns bytea
language sql
immutable
parallel safe
return sha256(convert_to(content_hash.content::text, 'UTF8'));

comment on function app.content_hash(jsonb) is
$$SHA-256 of the canonical text of a card's content, 32 bytes.

Key order, white space and duplicate keys don't matter.$$;
revoke all on function app.content_hash(jsonb) from public;
grant execute on function app.content_hash(jsonb) to cardbase_owner, cardbase_api;
