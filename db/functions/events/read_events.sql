-- Reads what happened to a tenant's rows, as some of its users see it, and keeps the events being recorded.
--   tenant_id   the tenant
--   user_ids    the listening users: each gets their own events, and those for all users of the tenant
--   after       the position to resume from, as an earlier reply named it; null: from now on
--   until       a position to stop at; null: the newest that is certain
--   maximum     how many events at most, 1 to 1,000
-- Returns 200 with
--   events       [{"user_id", "position", "document"}] in the order of their positions; user_id null: for all
--   position     where to resume from; null: recording has only just begun and is not complete: call again soon
--   is_reset     whether what happened since `after` is not, or no longer, known: listeners have to read their data
--                again
--   has_more     whether there are more events than maximum
--   is_pending   whether some are held back: call again soon
-- Errors: PT401 unauthenticated, a user is missing; PT422 validation_error, after or until is not a position.
--
-- An event is certain, and is returned, once all transactions as old as its own have ended: no other can then appear
-- before it. So a long writing transaction anywhere in the cluster delays the events that happen meanwhile.
-- What happens is recorded for an hour after the last call. The first call begins it: transactions that had a number
-- before it was committed may not have noticed. The second call notes a number that comes after all of those; when they
-- have ended, the record is complete from that number on, which is the horizon. So each call must be a transaction.
-- A lease that has nearly expired counts as expired, so that none is renewed that a trigger already found expired.
-- A dump brings another cluster's numbers. A horizon that no transaction of this cluster has reached is a lapsed lease,
-- and events from beyond it are left to app.purge_events.
-- The policy shows the events of user_ids and those for all, and no others.
create or replace function api.read_events(
    tenant_id uuid,
    user_ids uuid[],
    after text default null,
    until text default null,
    maximum integer default 200
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
    -- After a failover or a recovery transaction numbers continue from where the lost ones began.
    _timeline constant text := ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint::text;
    _after constant text [] := string_to_array(read_events.after, '-');
    _until constant text [] := string_to_array(read_events.until, '-');
    _expires_at timestamptz;
    _horizon_transaction_id xid8;
    _horizon_event_id bigint;
    _newest xid8;
    _after_transaction_id xid8;
    _after_event_id bigint;
    _events jsonb;
    _count bigint;
    _is_pending boolean;
begin
    perform
        app.set_caller(read_events.tenant_id, read_events.user_ids[1]),
        set_config('app.current_listener_ids', read_events.user_ids::text, true),
        app.check_event_position('last_event_id', read_events.after),
        app.check_event_position('until', read_events.until),
        app.check_range('maximum', read_events.maximum, 1, 1000);

    select
        subscription.expires_at,
        subscription.horizon_transaction_id,
        subscription.horizon_event_id
    into _expires_at, _horizon_transaction_id, _horizon_event_id
    from app.event_subscriptions as subscription
    where subscription.tenant_id = read_events.tenant_id;

    if not found
        or _expires_at <= clock_timestamp() + interval '1 minute'
        or _horizon_transaction_id > greatest(pg_snapshot_xmax(pg_current_snapshot()), pg_current_xact_id_if_assigned())
    then
        insert into app.event_subscriptions as subscription (tenant_id, expires_at)
        values (read_events.tenant_id, clock_timestamp() + interval '1 hour')
        on conflict on constraint event_subscriptions_pkey do update
        set
            expires_at = excluded.expires_at,
            horizon_transaction_id = null,
            horizon_event_id = 0
        where
            subscription.expires_at <= clock_timestamp() + interval '1 minute'
            or subscription.horizon_transaction_id > pg_current_xact_id();

        _horizon_transaction_id := null;
    elsif _horizon_transaction_id is null or _expires_at <= clock_timestamp() + interval '30 minutes' then
        update app.event_subscriptions as subscription
        set
            expires_at = clock_timestamp() + interval '1 hour',
            -- This transaction had no number when it saw the lease, and numbers from its own on are younger still.
            horizon_transaction_id = coalesce(subscription.horizon_transaction_id, pg_current_xact_id())
        where
            subscription.tenant_id = read_events.tenant_id
            -- Else another call was first, and what it wrote is not what this statement sees.
            and subscription.expires_at = _expires_at
        returning subscription.horizon_transaction_id into _horizon_transaction_id;
    end if;

    _newest := pg_snapshot_xmin(pg_current_snapshot());

    if (_horizon_transaction_id <= _newest) is not true then
        return row(
            200,
            null,
            jsonb_build_object(
                'events', '[]'::jsonb, 'position', null, 'is_reset', false, 'has_more', false, 'is_pending', true
            ),
            null
        )::api.reply;
    end if;

    _after_transaction_id := _after[2]::xid8;
    _after_event_id := _after[3]::bigint;

    if (
        _after[1] = _timeline
        and _after_transaction_id <= _newest
        and (_after_transaction_id, _after_event_id) >= (_horizon_transaction_id, _horizon_event_id)
    ) is not true
    then
        return row(
            200,
            null,
            jsonb_build_object(
                'events', '[]'::jsonb,
                'position', concat_ws('-', _timeline, _newest, 0),
                'is_reset', true,
                'has_more', false,
                'is_pending', false
            ),
            null
        )::api.reply;
    end if;

    with found as materialized (
        select
            event.transaction_id,
            event.event_id,
            event.user_id,
            app.event_document(event) as document,
            event.transaction_id < _newest as is_certain
        from app.events as event
        where
            event.tenant_id = read_events.tenant_id
            and (event.user_id is null or event.user_id = any(read_events.user_ids))
            and (event.transaction_id, event.event_id) > (_after_transaction_id, _after_event_id)
            and (event.transaction_id, event.event_id) <= (_until[2]::xid8, _until[3]::bigint) is not false
            and event.transaction_id
            <= greatest(pg_snapshot_xmax(pg_current_snapshot()), pg_current_xact_id_if_assigned())
        order by event.transaction_id, event.event_id
        limit read_events.maximum
    )

    select
        coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'user_id', found.user_id,
                    'position', concat_ws('-', _timeline, found.transaction_id, found.event_id),
                    'document', found.document
                )
                order by found.transaction_id, found.event_id
            ) filter (where found.is_certain),
            '[]'
        ),
        count(*) filter (where found.is_certain),
        count(*) filter (where not found.is_certain) > 0
    into _events, _count, _is_pending
    from found;

    return row(
        200,
        null,
        jsonb_build_object(
            'events', _events,
            'position', case
                when _count = read_events.maximum then _events -> -1 ->> 'position'
                else coalesce(read_events.until, concat_ws('-', _timeline, _newest, 0))
            end,
            'is_reset', false,
            'has_more', _count = read_events.maximum,
            'is_pending', _is_pending
        ),
        null
    )::api.reply;
end;
$$;

comment on function api.read_events(uuid, uuid[], text, text, integer) is
$$Reads what happened to a tenant's rows, as some of its users see it, and keeps the events being recorded.

@internal
PT401: a user is missing. PT422: after or until is not a position.$$;
alter function api.read_events(uuid, uuid[], text, text, integer) owner to cardbase_api;
revoke all on function api.read_events(uuid, uuid[], text, text, integer) from public;
grant execute on function api.read_events(uuid, uuid[], text, text, integer) to cardbase_gateway, cardbase_service;
