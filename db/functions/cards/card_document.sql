-- A card as callers see it.
--   card    the row
--   total   its usage, null when it was never used
-- Returns a JSON object with all of the card's fields.
create or replace function app.card_document(card app.cards, total app.card_usage_totals)
returns jsonb
language sql
stable
parallel safe
return jsonb_build_object(
    'card_id', (card_document.card).card_id,
    'card_type', (card_document.card).card_type,
    'content', (card_document.card).content,
    'content_hash', encode((card_document.card).content_hash, 'hex'),
    'source_session_id', (card_document.card).source_session_id,
    'created_by', (card_document.card).created_by,
    'created_at', (card_document.card).created_at,
    'updated_at', (card_document.card).updated_at,
    'is_active', (card_document.card).is_active,
    'deleted_at', (card_document.card).deleted_at,
    'usage_count', coalesce((card_document.total).usage_count, 0),
    'last_used_at', (card_document.total).last_used_at
);

comment on function app.card_document(app.cards, app.card_usage_totals) is
$$A card as callers see it: its row and its usage as one JSON object.$$;
revoke all on function app.card_document(app.cards, app.card_usage_totals) from public;
grant execute on function app.card_document(app.cards, app.card_usage_totals) to cardbase_api;
