-- The ids of a page of a tenant's cards, newest first. The caller reads the cards by them, through the policies.
--   tenant_id           the tenant, already set in the transaction; for any other nothing is found
--   card_type           only of this type; null: of all
--   source_session_id   only from this session; null: from all
--   created_by          only made by this name; null: by all
--   contains            only those whose content contains this JSON object; null: all
--   include_deleted     deleted cards, too
--   before              only ids below this one
--   maximum             how many to return at most
-- Returns the ids; none: an empty array.
--
-- A walk down an index that has the ids in order finds them at the same cost at any depth of the list. A plan that
-- sorts would read the whole list for each page, so sorting is off: the planner's row estimates are too weak to choose
-- between the two. The filters decide the index, so each call is planned again. jit is off: where a few rows are sorted
-- after all, the cost put on a disabled sort would make the server compile (servers 15 to 17).
--
-- For contains there are two ways, as the planner can't know how rare a content is: under row-level security it has no
-- statistics for it. What many cards contain is among the newest, so a bounded walk goes first. What it doesn't meet
-- once in a hundred cards is rare: then the index on content finds them all, and there are few to sort.
create or replace function app.find_cards(
    tenant_id uuid,
    card_type text,
    source_session_id uuid,
    created_by text,
    contains jsonb,
    include_deleted boolean,
    before uuid,
    maximum integer
)
returns uuid[]
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set enable_sort = off
set jit = off
as $$
declare
    _card_ids uuid[];
    _is_complete boolean;
begin
    if find_cards.tenant_id is distinct from app.current_tenant_id() then
        return array[]::uuid[];
    end if;

    with candidate as not materialized (
        select
            card.card_id,
            card.content
        from app.cards as card
        where
            card.tenant_id = find_cards.tenant_id
            and card.card_id < find_cards.before
            and (find_cards.include_deleted or card.is_active)
            and (find_cards.card_type is null or card.card_type = find_cards.card_type)
            and (find_cards.source_session_id is null or card.source_session_id = find_cards.source_session_id)
            and (find_cards.created_by is null or card.created_by = find_cards.created_by)
        order by card.card_id desc
        limit 100 * find_cards.maximum
    ),

    page as materialized (
        select candidate.card_id
        from candidate
        where find_cards.contains is null or candidate.content @> find_cards.contains
        order by candidate.card_id desc
        limit find_cards.maximum
    )

    select
        array(
            select page.card_id
            from page
            order by page.card_id desc
        ),
        find_cards.contains is null
        or (select count(*) from page) = find_cards.maximum
        -- The walk has reached the end of the list.
        or (select count(*) from candidate) < 100 * find_cards.maximum
    into _card_ids, _is_complete;

    if _is_complete then
        return _card_ids;
    end if;

    -- Materialized, with the other filters outside: the limit or a filter would tempt the planner to walk after all.
    with match as materialized (
        select
            card.card_id,
            card.card_type,
            card.source_session_id,
            card.created_by,
            card.is_active
        from app.cards as card
        where
            card.tenant_id = find_cards.tenant_id
            and card.content @> find_cards.contains
    )

    select array(
        select match.card_id
        from match
        where
            match.card_id < find_cards.before
            and (find_cards.include_deleted or match.is_active)
            and (find_cards.card_type is null or match.card_type = find_cards.card_type)
            and (find_cards.source_session_id is null or match.source_session_id = find_cards.source_session_id)
            and (find_cards.created_by is null or match.created_by = find_cards.created_by)
        order by match.card_id desc
        limit find_cards.maximum
    )
    into _card_ids;

    return _card_ids;
end;
$$;

comment on function app.find_cards(uuid, text, uuid, text, jsonb, boolean, uuid, integer) is
$$The ids of a page of a tenant's cards, newest first, below an id.

Only for the tenant of the running transaction.$$;
alter function app.find_cards(uuid, text, uuid, text, jsonb, boolean, uuid, integer) owner to cardbase_finder;
revoke all on function app.find_cards(uuid, text, uuid, text, jsonb, boolean, uuid, integer) from public;
grant execute on function app.find_cards(uuid, text, uuid, text, jsonb, boolean, uuid, integer) to cardbase_api;
