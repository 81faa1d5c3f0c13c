-- Deletes one card: it is no longer found, counted or used. Its row, its usage and its events stay, and the same
-- content may be created again, under a new id.
--   tenant_id   the caller's tenant
--   card_id     the card
--   if_match    delete only a card of these ETags' versions, or * for any; null: no condition
-- Returns 204. Of two concurrent deletions one succeeds: the other waits for the lock and then finds no active card.
-- Errors: PT404 card_not_found, also the second time; PT412 precondition_failed.
create or replace function api.delete_card(tenant_id uuid, card_id uuid, if_match text default null)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
begin
    perform set_config('app.current_tenant_id', delete_card.tenant_id::text, true);
    perform app.lock_card(delete_card.tenant_id, delete_card.card_id, delete_card.if_match);

    update app.cards as card
    set deleted_at = clock_timestamp()
    where
        card.tenant_id = delete_card.tenant_id
        and card.card_id = delete_card.card_id;
    insert into app.card_search_queue (tenant_id, card_ids)
    values (delete_card.tenant_id, array[delete_card.card_id]);

    return row(204, null, null, null)::api.reply;
end;
$$;

comment on function api.delete_card(uuid, uuid, text) is
$$Deletes one card.

It is no longer found or used; its usage and events are kept. The same content may be created again, under a new id.

PT404: the tenant has no such card, or it was deleted before. PT412: if_match is given and the card has changed.$$;
alter function api.delete_card(uuid, uuid, text) owner to cardbase_api;
revoke all on function api.delete_card(uuid, uuid, text) from public;
grant execute on function api.delete_card(uuid, uuid, text) to cardbase_gateway, cardbase_service;
