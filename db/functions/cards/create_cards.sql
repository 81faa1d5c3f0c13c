-- Creates a batch of cards: all of it or none of it.
--   tenant_id               the caller's tenant
--   cards                   1 to 1,000 of {"card_type", "content", "created_by"?, "source_session_id"?}
--   source_session_id       default for cards without one
--   created_by              default for cards without one, at most 255 characters; else "api"
--   idempotency_key         the same key and request again return the first reply, and do nothing
--   idempotency_ttl_hours   how long the key is remembered
-- Returns {"cards": [card + created], "created_count", "existing_count"} in the order sent: 201 when any card was
-- created, else 200. A card whose content an active card of its type has is that card, with created false.
-- Errors: PT422 validation_error, PT422 idempotency_key_reused, PT409 idempotency_in_progress (after 2 s),
-- PT413 payload_too_large: a content is longer than 8,000,000 bytes of JSON text, or all cards than 64,000,000.
create or replace function api.create_cards(
    tenant_id uuid,
    cards jsonb,
    source_session_id uuid default null,
    created_by text default null,
    idempotency_key text default null,
    idempotency_ttl_hours integer default 24
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
    _fingerprint bytea;
    _reply api.reply;
    _stored record;
begin
    perform set_config('app.current_tenant_id', create_cards.tenant_id::text, true);
    perform app.check_json('cards', create_cards.cards, 64000000);

    if create_cards.idempotency_key is not null then
        _fingerprint := app.request_fingerprint(
            'create_cards',
            jsonb_build_array(create_cards.cards, create_cards.source_session_id, create_cards.created_by)
        );
        _reply := app.claim_idempotency_key(create_cards.tenant_id, create_cards.idempotency_key, _fingerprint);
        if _reply.status is not null then
            return _reply;
        end if;
    end if;

    perform app.check_cards(create_cards.cards);
    perform app.check_length('created_by', create_cards.created_by, 255);

    select
        stored.documents,
        stored.created_count,
        stored.measures
    into _stored
    from app.store_cards(
        create_cards.tenant_id, create_cards.cards, create_cards.source_session_id, create_cards.created_by
    ) as stored;

    _reply := row(
        case when _stored.created_count > 0 then 201 else 200 end,
        null,
        jsonb_build_object(
            'cards', _stored.documents,
            'created_count', _stored.created_count,
            'existing_count', jsonb_array_length(create_cards.cards) - _stored.created_count
        ),
        _stored.measures
    )::api.reply;

    if create_cards.idempotency_key is not null then
        _reply := app.remember_reply(
            create_cards.tenant_id,
            create_cards.idempotency_key,
            _fingerprint,
            create_cards.idempotency_ttl_hours,
            _reply
        );
    end if;

    return _reply;
end;
$$;

comment on function api.create_cards(uuid, jsonb, uuid, text, text, integer) is
$$Creates a batch of cards: all of it or none of it.

Takes 1 to 1,000 cards and returns them in the order sent, each with created, together with created_count
and existing_count: 201 when any card was created, else 200. A card whose content an active card of its type has is that
card, with created false. With an idempotency key the same request again returns the first reply, and does
nothing.

PT422: a card is not valid, or the key was used for another request. PT409: a request with this key is still running
after 2 seconds. PT413: a content is longer than 8,000,000 bytes of JSON text.$$;
alter function api.create_cards(uuid, jsonb, uuid, text, text, integer) owner to cardbase_api;
revoke all on function api.create_cards(uuid, jsonb, uuid, text, text, integer) from public;
grant execute on function api.create_cards(uuid, jsonb, uuid, text, text, integer)
to cardbase_gateway, cardbase_service;
