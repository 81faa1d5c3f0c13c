-- Counts one use of a card, and records it as an event.
--   tenant_id       the caller's tenant
--   card_id         the card
--   workflow_id     at most 255 characters; one event is recorded per card and workflow. Null: each call is an event
--   workflow_type   at most 100 characters
--   session_id      at most 255 characters
-- Returns 200 {"card_id", "usage_count", "last_used_at", "event_recorded"}, and the header X-Event-Recorded. A
-- workflow's repeat records no event but still counts.
-- Errors: PT404 card_not_found, PT422 validation_error.
--
-- The total comes first and the event second, in every call (the event's row is built from the total's): the second
-- call for a card waits there, holding no lock on that card, and then finds the event's unique key free or taken. So
-- the counts are exact, and transactions of several calls can't deadlock as long as they use their cards in one order.
create or replace function api.track_usage(
    tenant_id uuid,
    card_id uuid,
    workflow_id text default null,
    workflow_type text default null,
    session_id text default null
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
-- The target of "on conflict" can't be qualified: there a bare name is the column.
#variable_conflict use_column
declare
    _card_type text;
    _recorded boolean;
    _usage_count bigint;
    _last_used_at timestamptz;
begin
    perform set_config('app.current_tenant_id', track_usage.tenant_id::text, true);
    perform app.check_length('workflow_id', track_usage.workflow_id, 255);
    perform app.check_length('workflow_type', track_usage.workflow_type, 100);
    perform app.check_length('session_id', track_usage.session_id, 255);

    with card as materialized (
        -- The version is selected only because no index has it: the planner would rather skip through an index that
        -- has the rest than look the card up by its key.
        select
            cards.card_type,
            cards.version,
            clock_timestamp() as used_at
        from app.cards
        where
            cards.tenant_id = track_usage.tenant_id
            and cards.card_id = track_usage.card_id
            and cards.is_active
    ),

    total as (
        insert into app.card_usage_totals as total (tenant_id, card_id, usage_count, last_used_at)
        select
            track_usage.tenant_id,
            track_usage.card_id,
            1,
            card.used_at
        from card
        on conflict on constraint card_usage_totals_pkey do update
            set
                usage_count = total.usage_count + 1,
                last_used_at = greatest(total.last_used_at, excluded.last_used_at)
        returning
            total.usage_count,
            total.last_used_at
    ),

    event as (
        insert into app.card_usage (tenant_id, card_id, workflow_id, workflow_type, session_id, used_at)
        select
            track_usage.tenant_id,
            track_usage.card_id,
            track_usage.workflow_id,
            track_usage.workflow_type,
            track_usage.session_id,
            card.used_at
        from total
        cross join card
        on conflict (tenant_id, card_id, workflow_id) where workflow_id is not null do nothing
        returning card_usage.usage_id
    )

    select
        card.card_type,
        exists (select from event),
        total.usage_count,
        total.last_used_at
    into _card_type, _recorded, _usage_count, _last_used_at
    from total
    cross join card;

    if not found then
        perform app.card_not_found(track_usage.card_id);
    end if;

    return row(
        200,
        jsonb_build_object('X-Event-Recorded', _recorded::text),
        jsonb_build_object(
            'card_id', track_usage.card_id,
            'usage_count', _usage_count,
            'last_used_at', _last_used_at,
            'event_recorded', _recorded
        ),
        case
            when _recorded then
                jsonb_build_array(
                    jsonb_build_array(
                        'card_usage_events_total',
                        jsonb_build_object('card_type', _card_type, 'workflow_type', track_usage.workflow_type),
                        1
                    )
                )
        end
    )::api.reply;
end;
$$;

comment on function api.track_usage(uuid, uuid, text, text, text) is
$$Counts one use of a card, and records it as an event.

Returns usage_count, last_used_at and whether an event was recorded: one per card and workflow_id. A workflow's
repeat records no event but still counts; without workflow_id every call is an event.

PT404: the tenant has no such card. PT422: a text is too long.$$;
alter function api.track_usage(uuid, uuid, text, text, text) owner to cardbase_api;
revoke all on function api.track_usage(uuid, uuid, text, text, text) from public;
grant execute on function api.track_usage(uuid, uuid, text, text, text) to cardbase_gateway, cardbase_service;
