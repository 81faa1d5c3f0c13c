-- One active card as callers see it, and its ETag, read together so that they agree.
--   tenant_id   the tenant, already set in the transaction
--   card_id     the card
-- Returns one row, or none when the tenant has no such card.
create or replace function app.read_card(tenant_id uuid, card_id uuid)
returns table (document jsonb, etag text)
language sql
stable
parallel safe
begin atomic
    select
        app.card_document(card, total) as document,
        app.card_etag(card.version, total.usage_count) as etag
    from app.cards as card
    left join app.card_usage_totals as total
        on total.tenant_id = read_card.tenant_id and card.card_id = total.card_id
    where
        card.tenant_id = read_card.tenant_id
        and card.card_id = read_card.card_id
        and card.is_active;
end;

comment on function app.read_card(uuid, uuid) is
$$One active card as callers see it, and its ETag; no row when the tenant has no such card.$$;
revoke all on function app.read_card(uuid, uuid) from public;
grant execute on function app.read_card(uuid, uuid) to cardbase_api;
