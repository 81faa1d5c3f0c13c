-- Lists the recorded uses of one card, newest first.
--   tenant_id   the caller's tenant
--   card_id     the card
--   limit       events on a page, 1 to 1,000; null: 50
--   cursor      next_cursor of the previous page; null: the first page
-- Returns 200 {"events": [{"usage_id", "workflow_id", "workflow_type", "session_id", "used_at"}], "next_cursor"};
-- next_cursor is null on the last page.
-- Errors: PT404 card_not_found, for a deleted card, too, though its events stay; PT422 validation_error.
--
-- Paging works as in api.list_cards. A repeat of a workflow counts as a use of the card but is not an event, so there
-- may be fewer events than usage_count.
create or replace function api.list_usage(
    tenant_id uuid,
    card_id uuid,
    "limit" integer default 50,
    cursor text default null
)
returns api.reply
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
    _limit constant integer := coalesce(list_usage."limit", 50);
    _scope constant bytea := app.request_fingerprint(
        'list_usage', jsonb_build_array(list_usage.tenant_id, list_usage.card_id)
    );
    _before uuid;
    _body jsonb;
begin
    perform set_config('app.current_tenant_id', list_usage.tenant_id::text, true);
    perform app.check_range('limit', _limit, 1, 1000);
    _before := app.decode_cursor(_scope, list_usage.cursor);

    perform
    from app.cards as card
    where
        card.tenant_id = list_usage.tenant_id
        and card.card_id = list_usage.card_id
        and card.is_active;

    if not found then
        perform app.card_not_found(list_usage.card_id);
    end if;

    with page as (
        select
            event.usage_id,
            event.workflow_id,
            event.workflow_type,
            event.session_id,
            event.used_at,
            row_number() over (order by event.usage_id desc) as position
        from app.card_usage as event
        where
            event.tenant_id = list_usage.tenant_id
            and event.card_id = list_usage.card_id
            and event.usage_id < _before
        order by event.usage_id desc
        -- One more than requested tells whether there is a next page.
        limit _limit + 1
    )

    select
        jsonb_build_object(
            'events',
            coalesce(
                jsonb_agg(
                    jsonb_build_object(
                        'usage_id', page.usage_id,
                        'workflow_id', page.workflow_id,
                        'workflow_type', page.workflow_type,
                        'session_id', page.session_id,
                        'used_at', page.used_at
                    )
                    order by page.position
                )
                filter (where page.position <= _limit),
                '[]'
            ),
            'next_cursor',
            case
                when count(*) > _limit
                    then app.encode_cursor(
                        _scope, (array_agg(page.usage_id) filter (where page.position = _limit))[1]
                    )
            end
        )
    into _body
    from page;

    return row(200, null, _body, null)::api.reply;
end;
$$;

comment on function api.list_usage(uuid, uuid, integer, text) is
$$Lists the recorded uses of one card, newest first, a page at a time.

Returns at most limit events (1 to 1,000, else 50) and next_cursor, null on the last page; send it as cursor for the
next page. A repeat of a workflow counts as a use but is not an event.

PT404: the tenant has no such card, or it was deleted. PT422: limit or cursor is not valid.$$;
alter function api.list_usage(uuid, uuid, integer, text) owner to cardbase_api;
revoke all on function api.list_usage(uuid, uuid, integer, text) from public;
grant execute on function api.list_usage(uuid, uuid, integer, text) to cardbase_gateway, cardbase_service;
