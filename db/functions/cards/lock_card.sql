-- Locks an active card until the transaction ends, so that nobody else changes it meanwhile.
--   tenant_id   the tenant, already set in the transaction
--   card_id     the card
--   if_match    the caller's If-Match header: ETags, or * for any; null: no condition
-- Returns the card's row. Counting a use doesn't wait for this lock.
-- Errors: PT404 card_not_found; PT412 precondition_failed, none of the ETags has the card's version.
--
-- Only the version in an ETag decides. Its other half, the usage count, is nothing that an update or deletion could
-- overwrite, and a card in use would refuse its editors at random. Weak ETags never match, as If-Match compares
-- strongly (RFC 9110, section 13.1.1), and neither does anything that is not an ETag.
create or replace function app.lock_card(tenant_id uuid, card_id uuid, if_match text)
returns app.cards
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    _card app.cards;
begin
    select card.*
    into _card
    from app.cards as card
    where
        card.tenant_id = lock_card.tenant_id
        and card.card_id = lock_card.card_id
        and card.is_active
    for no key update;

    if not found then
        perform app.card_not_found(lock_card.card_id);
    end if;

    if btrim(lock_card.if_match) <> '*'
        and not exists (
            select
            from regexp_matches(lock_card.if_match, '(W/)?"([^"]*)"', 'g') as tag (parts)
            where
                tag.parts[1] is null
                and tag.parts[2] ~ '^\d+-\d+$'
                and split_part(tag.parts[2], '-', 1) = _card.version::text
        )
    then
        raise exception using
            errcode = 'PT412',
            message = 'the card has changed',
            detail = format('Card %s is at version %s, which no ETag of If-Match names.', _card.card_id, _card.version),
            hint = 'Get the card again, see what changed, and send its ETag.',
            column = 'If-Match',
            constraint = 'precondition_failed';
    end if;

    return _card;
end;
$$;

comment on function app.lock_card(uuid, uuid, text) is
$$Locks an active card until the transaction ends, and returns its row.

PT404: the tenant has no such card. PT412: no ETag of If-Match has the card's version.$$;
revoke all on function app.lock_card(uuid, uuid, text) from public;
grant execute on function app.lock_card(uuid, uuid, text) to cardbase_api;
