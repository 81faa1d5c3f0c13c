-- Lists a tenant's cards, newest first.
--   tenant_id           the caller's tenant
--   card_type           only of this type, one of app.card_types; null: of all
--   source_session_id   only from this session; null: from all
--   created_by          only made by this name; null: by all
--   contains            only those whose content contains this JSON object (the operator @>); null: all
--   include_deleted     deleted cards, too
--   limit               cards on a page, 1 to 1,000; null: 50
--   cursor              next_cursor of the previous page; null: the first page
--   count               'exact': return the total as well, at the cost of a look at each matching card; null: don't
-- Returns 200 {"cards": [card], "next_cursor", "total"?}; next_cursor is null on the last page.
-- Errors: PT422 validation_error.
--
-- Newest first is the order of the key, a version 7 uuid, and a page begins below the last card of the one before: so
-- paging meets each card that stays exactly once, whatever is added or deleted meanwhile, and a page costs the same at
-- any depth. A cursor belongs to its tenant and filters and is refused with any others; limit and count may change
-- between pages.
-- The cards of a page are looked up one by one: the plan is made once per connection, perhaps while the tables are
-- empty, and kept; another kind of join would read whole tables once they have grown.
create or replace function api.list_cards(
    tenant_id uuid,
    card_type text default null,
    source_session_id uuid default null,
    created_by text default null,
    contains jsonb default null,
    include_deleted boolean default false,
    "limit" integer default 50,
    cursor text default null,
    count text default null
)
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
    _limit constant integer := coalesce(list_cards."limit", 50);
    _include_deleted constant boolean := coalesce(list_cards.include_deleted, false);
    -- Every content contains the empty object.
    _contains constant jsonb := nullif(list_cards.contains, '{}');
    _scope constant bytea := app.request_fingerprint(
        'list_cards',
        jsonb_build_array(
            list_cards.tenant_id,
            list_cards.card_type,
            list_cards.source_session_id,
            list_cards.created_by,
            _contains,
            _include_deleted
        )
    );
    _card_ids uuid[];
    _cards jsonb;
    _body jsonb;
begin
    perform set_config('app.current_tenant_id', list_cards.tenant_id::text, true);
    perform app.check_range('limit', _limit, 1, 1000);
    if list_cards.card_type is not null then
        perform app.check_choice('card_type', list_cards.card_type, app.card_types());
    end if;
    if list_cards.contains is not null then
        perform app.check_json('contains', list_cards.contains);
        perform app.check_object('contains', list_cards.contains);
    end if;
    if list_cards.count is not null then
        perform app.check_choice('count', list_cards.count, array['exact']);
    end if;

    -- One more than requested tells whether there is a next page.
    _card_ids := app.find_cards(
        list_cards.tenant_id,
        list_cards.card_type,
        list_cards.source_session_id,
        list_cards.created_by,
        _contains,
        _include_deleted,
        app.decode_cursor(_scope, list_cards.cursor),
        _limit + 1
    );

    select coalesce(jsonb_agg(app.card_document(card, total) order by page.position), '[]')
    into _cards
    from unnest(_card_ids[1:_limit]) with ordinality as page (card_id, position)
    inner join app.cards as card
        on card.tenant_id = list_cards.tenant_id and card.card_id = page.card_id
    left join app.card_usage_totals as total
        on total.tenant_id = list_cards.tenant_id and total.card_id = page.card_id;

    _body := jsonb_build_object(
        'cards', _cards,
        'next_cursor', case
            when cardinality(_card_ids) > _limit then app.encode_cursor(_scope, _card_ids[_limit])
        end
    );

    if list_cards.count is not null then
        _body := _body || jsonb_build_object(
            'total',
            app.count_cards(
                list_cards.tenant_id,
                list_cards.card_type,
                list_cards.source_session_id,
                list_cards.created_by,
                _contains,
                _include_deleted
            )
        );
    end if;

    return row(200, null, _body, null)::api.reply;
end;
$$;

comment on function api.list_cards(uuid, text, uuid, text, jsonb, boolean, integer, text, text) is
$$Lists cards, newest first, a page at a time.

Filters narrow the list: card_type, source_session_id, created_by, and contains, a JSON object that content must
contain. Deleted cards are listed only with include_deleted. Returns at most limit cards (1 to 1,000, else 50) and
next_cursor, null on the last page; send it as cursor, with the same filters, for the next page. With count "exact" the
response has the total, too.

PT422: a filter, limit, cursor or count is not valid.$$;
alter function api.list_cards(uuid, text, uuid, text, jsonb, boolean, integer, text, text) owner to cardbase_api;
revoke all on function api.list_cards(uuid, text, uuid, text, jsonb, boolean, integer, text, text) from public;
grant execute on function api.list_cards(uuid, text, uuid, text, jsonb, boolean, integer, text, text)
to cardbase_gateway, cardbase_service;
