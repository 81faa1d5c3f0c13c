-- Creates one card.
--   tenant_id               the caller's tenant
--   card_type               one of app.card_types
--   content                 an object
--   source_session_id       the session it comes from
--   created_by              at most 255 characters; null: "api"
--   idempotency_key         the same key and request again return the first reply, and do nothing
--   idempotency_ttl_hours   how long the key is remembered
-- Returns the card + created, and its ETag as a header: 201, or 200 and created false when an active card of the type
-- has this content.
-- Errors: PT422 validation_error, PT422 idempotency_key_reused, PT409 idempotency_in_progress (after 2 s),
-- PT413 payload_too_large: the content is longer than 8,000,000 bytes of JSON text.
create or replace function api.create_card(
    tenant_id uuid,
    card_type text,
    content jsonb,
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
    _document jsonb;
    _etag text;
begin
    perform set_config('app.current_tenant_id', create_card.tenant_id::text, true);
    perform app.check_json('content', create_card.content);

    if create_card.idempotency_key is not null then
        _fingerprint := app.request_fingerprint(
            'create_card',
            jsonb_build_array(
                create_card.card_type, create_card.content, create_card.source_session_id, create_card.created_by
            )
        );
        _reply := app.claim_idempotency_key(create_card.tenant_id, create_card.idempotency_key, _fingerprint);
        if _reply.status is not null then
            return _reply;
        end if;
    end if;

    perform app.check_choice('card_type', create_card.card_type, app.card_types());
    perform app.check_object('content', create_card.content);
    perform app.check_length('created_by', create_card.created_by, 255);

    -- The card is read again for the ETag that belongs to it. One that was there already may be deleted between
    -- the two statements: then it is created after all.
    loop
        select
            stored.documents -> 0 ->> 'card_id' as card_id,
            stored.created_count = 1 as created,
            stored.measures
        into _stored
        from app.store_cards(
            create_card.tenant_id,
            jsonb_build_array(jsonb_build_object('card_type', create_card.card_type, 'content', create_card.content)),
            create_card.source_session_id,
            create_card.created_by
        ) as stored;

        select
            card.document,
            card.etag
        into _document, _etag
        from app.read_card(create_card.tenant_id, _stored.card_id::uuid) as card;

        exit when found;
    end loop;

    _reply := row(
        case when _stored.created then 201 else 200 end,
        jsonb_build_object('ETag', _etag),
        _document || jsonb_build_object('created', _stored.created),
        _stored.measures
    )::api.reply;

    if create_card.idempotency_key is not null then
        _reply := app.remember_reply(
            create_card.tenant_id,
            create_card.idempotency_key,
            _fingerprint,
            create_card.idempotency_ttl_hours,
            _reply
        );
    end if;

    return _reply;
end;
$$;

comment on function api.create_card(uuid, text, jsonb, uuid, text, text, integer) is
$$Creates one card.

Returns it with created, and its ETag: 201 when it is new, 200 when an active card of its type has this content. With an
idempotency key the same request again returns the first reply, and does nothing.

PT422: a field is not valid, or the key was used for another request. PT409: a request with this key is still running
after 2 seconds. PT413: the content is longer than 8,000,000 bytes of JSON text.$$;
alter function api.create_card(uuid, text, jsonb, uuid, text, text, integer) owner to cardbase_api;
revoke all on function api.create_card(uuid, text, jsonb, uuid, text, text, integer) from public;
grant execute on function api.create_card(uuid, text, jsonb, uuid, text, text, integer)
to cardbase_gateway, cardbase_service;
