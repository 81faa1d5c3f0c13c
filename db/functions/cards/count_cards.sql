-- How many cards a tenant has, by the filters of api.list_cards. Costs a look at each that is counted.
--   tenant_id           the tenant, already set in the transaction; for any other 0
--   card_type           only of this type; null: of all
--   source_session_id   only from this session; null: from all
--   created_by          only made by this name; null: by all
--   contains            only those whose content contains this JSON object; null: all
--   include_deleted     deleted cards, too
-- Returns the number.
-- It runs as the finder, which can use the index on content (see app.find_cards).
create or replace function app.count_cards(
    tenant_id uuid,
    card_type text,
    source_session_id uuid,
    created_by text,
    contains jsonb,
    include_deleted boolean
)
returns bigint
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
begin
    if count_cards.tenant_id is distinct from app.current_tenant_id() then
        return 0::bigint;
    end if;

    return (
        select count(*)
        from app.cards as card
        where
            card.tenant_id = count_cards.tenant_id
            and (count_cards.include_deleted or card.is_active)
            and (count_cards.card_type is null or card.card_type = count_cards.card_type)
            and (count_cards.source_session_id is null or card.source_session_id = count_cards.source_session_id)
            and (count_cards.created_by is null or card.created_by = count_cards.created_by)
            and (count_cards.contains is null or card.content @> count_cards.contains)
    );
end;
$$;

comment on function app.count_cards(uuid, text, uuid, text, jsonb, boolean) is
$$How many cards a tenant has, by the filters of api.list_cards.

Only for the tenant of the running transaction.$$;
alter function app.count_cards(uuid, text, uuid, text, jsonb, boolean) owner to cardbase_finder;
revoke all on function app.count_cards(uuid, text, uuid, text, jsonb, boolean) from public;
grant execute on function app.count_cards(uuid, text, uuid, text, jsonb, boolean) to cardbase_api;
