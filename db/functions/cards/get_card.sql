-- Gets one card.
--   tenant_id   the caller's tenant
--   card_id     the card
-- Returns 200 with the card, and its ETag as a header.
-- Errors: PT404 card_not_found; a deleted card is not found either.
create or replace function api.get_card(tenant_id uuid, card_id uuid)
returns api.reply
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
    _document jsonb;
    _etag text;
begin
    perform set_config('app.current_tenant_id', get_card.tenant_id::text, true);

    select
        card.document,
        card.etag
    into _document, _etag
    from app.read_card(get_card.tenant_id, get_card.card_id) as card;

    if not found then
        perform app.card_not_found(get_card.card_id);
    end if;

    return row(200, jsonb_build_object('ETag', _etag), _document, null)::api.reply;
end;
$$;

comment on function api.get_card(uuid, uuid) is
$$Gets one card.

Returns the card, and its ETag, which changes with each update and each use.

PT404: the tenant has no such card, or it was deleted.$$;
alter function api.get_card(uuid, uuid) owner to cardbase_api;
revoke all on function api.get_card(uuid, uuid) from public;
grant execute on function api.get_card(uuid, uuid) to cardbase_gateway, cardbase_service;
