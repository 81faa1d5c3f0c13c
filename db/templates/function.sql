-- Counts the tenant's active cards: replace this by what the function does, and for whom.
--   tenant_id   the caller's tenant
--   card_type   only cards of this type; null: of all
-- Returns 200 with {"count"}.
-- Errors: none.
create or replace function api.new_function(tenant_id uuid, card_type text default null)
returns api.reply
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config('app.current_tenant_id', new_function.tenant_id::text, true);

    return row(
        200,
        null,
        (
            select jsonb_build_object('count', count(*))
            from app.cards as card
            where
                card.tenant_id = new_function.tenant_id
                and card.is_active
                and (new_function.card_type is null or card.card_type = new_function.card_type)
        ),
        null
    )::api.reply;
end;
$$;

comment on function api.new_function(uuid, text) is
$$Counts the tenant's active cards.

Returns their number, or that of one type.$$;
alter function api.new_function(uuid, text) owner to cardbase_api;
revoke all on function api.new_function(uuid, text) from public;
grant execute on function api.new_function(uuid, text) to cardbase_gateway, cardbase_service;
