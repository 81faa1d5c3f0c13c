-- Gets cards by their ids.
--   tenant_id   the caller's tenant
--   card_ids    1 to 1,000 ids
-- Returns 200 {"cards": [card], "missing_ids": [id]}: the cards found in the order requested, each once, and the ids of
-- those that are not there. Deleted cards and other tenants' cards are missing like any that never existed.
-- Errors: PT422 validation_error.
--
-- The plan is made once per connection, perhaps while the tables are empty, and kept. So it must look each card up by
-- its key: another kind of join would read whole tables once they have grown.
create or replace function api.retrieve_cards(tenant_id uuid, card_ids uuid[])
returns api.reply
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    _body jsonb;
begin
    perform set_config('app.current_tenant_id', retrieve_cards.tenant_id::text, true);
    perform app.check_ids('card_ids', retrieve_cards.card_ids);

    with asked as (
        select
            ids.card_id,
            min(ids.position) as position
        from unnest(retrieve_cards.card_ids) with ordinality as ids (card_id, position)
        group by ids.card_id
    )

    select
        jsonb_build_object(
            'cards',
            coalesce(
                jsonb_agg(app.card_document(card, total) order by asked.position)
                filter (where card.card_id is not null),
                '[]'
            ),
            'missing_ids',
            coalesce(
                jsonb_agg(asked.card_id order by asked.position) filter (where card.card_id is null),
                '[]'
            )
        )
    into _body
    from asked
    left join app.cards as card
        on card.tenant_id = retrieve_cards.tenant_id and card.card_id = asked.card_id and card.is_active
    left join app.card_usage_totals as total
        on total.tenant_id = retrieve_cards.tenant_id and total.card_id = card.card_id;

    return row(200, null, _body, null)::api.reply;
end;
$$;

comment on function api.retrieve_cards(uuid, uuid[]) is
$$Gets cards by their ids.

Takes 1 to 1,000 ids and returns the cards found in the order requested, each once, and the missing ids. Deleted cards
and other tenants' cards are missing like any that never existed.

PT422: no id, a null, or too many.$$;
alter function api.retrieve_cards(uuid, uuid[]) owner to cardbase_api;
revoke all on function api.retrieve_cards(uuid, uuid[]) from public;
grant execute on function api.retrieve_cards(uuid, uuid[]) to cardbase_gateway, cardbase_service;
