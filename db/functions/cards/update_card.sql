-- Changes one card.
--   tenant_id           the caller's tenant
--   card_id             the card
--   content             its new content, an object, all of it; null: as it was
--   source_session_id   its new session; null: as it was, so a session can be replaced but not taken away
--   if_match            change only a card of these ETags' versions, or * for any; null: no condition
-- Returns 200 with the card, and its new ETag as a header. An update that changes nothing leaves version and
-- updated_at as they were; a changed usage is not a changed card (see app.lock_card).
-- Errors: PT404 card_not_found, PT412 precondition_failed, PT422 validation_error, PT413 payload_too_large, PT409
-- duplicate_card: an active card of the type has this content, and detail names it.
--
-- The unique key of active cards decides, not a look beforehand: an update that meets a key which another transaction
-- is writing waits for its end. Two concurrent updates that swap the contents of two cards may deadlock: 40P01, and
-- one of the two can be retried.
create or replace function api.update_card(
    tenant_id uuid,
    card_id uuid,
    content jsonb default null,
    source_session_id uuid default null,
    if_match text default null
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
    _card app.cards;
    _content jsonb;
    _source_session_id uuid;
    _other_id uuid;
    _document jsonb;
    _etag text;
begin
    perform set_config('app.current_tenant_id', update_card.tenant_id::text, true);

    if update_card.content is not null then
        perform app.check_json('content', update_card.content);
        perform app.check_object('content', update_card.content);
    end if;

    _card := app.lock_card(update_card.tenant_id, update_card.card_id, update_card.if_match);
    _content := coalesce(update_card.content, _card.content);
    _source_session_id := coalesce(update_card.source_session_id, _card.source_session_id);

    -- Contents are compared by their hashes, as the unique key does: to jsonb 1 and 1.0 are equal.
    while app.content_hash(_content) <> _card.content_hash
        or _source_session_id is distinct from _card.source_session_id
    loop
        begin
            update app.cards as card
            set
                content = _content,
                source_session_id = _source_session_id,
                updated_at = clock_timestamp(),
                version = card.version + 1
            where
                card.tenant_id = update_card.tenant_id
                and card.card_id = update_card.card_id;
            insert into app.card_search_queue (tenant_id, card_ids)
            values (update_card.tenant_id, array[update_card.card_id]);

            exit;
        exception
            when unique_violation then
                select other.card_id
                into _other_id
                from app.cards as other
                where
                    other.tenant_id = update_card.tenant_id
                    and other.card_type = _card.card_type
                    and other.content_hash = app.content_hash(_content)
                    and other.is_active;

                if found then
                    raise exception using
                        errcode = 'PT409',
                        message = 'another card has this content',
                        detail = format('The active card %s of type %s has it.', _other_id, _card.card_type),
                        hint = 'Use that card, or delete it before this one takes its content.',
                        column = 'content',
                        constraint = 'duplicate_card';
                end if;

                -- The other card was deleted or changed meanwhile: again. A snapshot of the whole transaction would
                -- never show it.
                if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
                    raise exception using
                        errcode = 'serialization_failure',
                        message = 'another transaction stored this content meanwhile',
                        detail = 'The running transaction''s snapshot is older than the other card.',
                        hint = 'Run the transaction again, or use read committed.';
                end if;
        end;
    end loop;

    select
        card.document,
        card.etag
    into _document, _etag
    from app.read_card(update_card.tenant_id, update_card.card_id) as card;

    return row(200, jsonb_build_object('ETag', _etag), _document, null)::api.reply;
end;
$$;

comment on function api.update_card(uuid, uuid, jsonb, uuid, text) is
$$Changes one card's content or session, and returns the card with its new ETag.

What is left out stays as it was; content is replaced as a whole. An update that changes nothing leaves the version and
updated_at alone.

PT404: the tenant has no such card, or it was deleted. PT409: another active card of the type has this content; detail
names it. PT412: if_match is given and the card has changed. PT422: content is not an object.
PT413: it is longer than 8,000,000 bytes of JSON text.$$;
alter function api.update_card(uuid, uuid, jsonb, uuid, text) owner to cardbase_api;
revoke all on function api.update_card(uuid, uuid, jsonb, uuid, text) from public;
grant execute on function api.update_card(uuid, uuid, jsonb, uuid, text) to cardbase_gateway, cardbase_service;
