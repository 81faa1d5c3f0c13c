-- Brings the search index of a tenant's cards up to date with those that were stored, changed or deleted since.
--   tenant_id       the tenant, already set in the transaction
--   maximum_cards   how many to process at most, save for the rest of a batch that was stored at once
-- Returns how many it processed; fewer than maximum_cards means that none are left for now. A read-only transaction
-- processes none.
--
-- An entry is removed in the transaction that has processed it, and nobody else indexes the tenant's cards until that
-- transaction ends: a concurrent call waits, and finds it done. Entries are taken first, and the cards read by a second
-- statement, whose snapshot is newer: who stored an entry since then finds this call's work done when it is processed.
-- With one snapshot for both, or without the lock, a card that is deleted meanwhile could be indexed after its deletion
-- was, and stay for good.
-- Errors: 40001, a card has changed since the transaction's snapshot, where that is older than the statement
-- (repeatable read).
create or replace function app.index_cards(tenant_id uuid, maximum_cards integer default 1000)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    _queued_ids uuid[];
    _card_ids uuid[];
begin
    if current_setting('transaction_read_only')::boolean
        or not exists (
            select
            from app.card_search_queue as queue
            where queue.tenant_id = index_cards.tenant_id
        )
    then
        return 0::bigint;
    end if;

    perform pg_advisory_xact_lock(hashtextextended('card_search ' || index_cards.tenant_id, 0));

    with next as (
        select newest.queue_id
        from (
            select
                queue.queue_id,
                sum(cardinality(queue.card_ids)) over newest - cardinality(queue.card_ids) as cards_before
            from app.card_search_queue as queue
            where queue.tenant_id = index_cards.tenant_id
            window newest as (order by queue.queue_id desc)
            limit index_cards.maximum_cards
        ) as newest
        where newest.cards_before < index_cards.maximum_cards
    ),

    taken as (
        delete from app.card_search_queue as queue
        using next
        where
            queue.tenant_id = index_cards.tenant_id
            and queue.queue_id = next.queue_id
        returning queue.card_ids
    )

    select array_agg(queued.card_id)
    into _queued_ids
    from taken
    cross join unnest(taken.card_ids) as queued (card_id);

    _card_ids := array(select distinct unnest(_queued_ids));

    -- Raises where a card has changed since the snapshot.
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
        perform
        from app.cards as card
        where
            card.tenant_id = index_cards.tenant_id
            and card.card_id = any(_card_ids)
        order by card.card_id
        for share;
    end if;

    with card as (
        select
            card.tenant_id,
            card.card_id,
            card.content,
            card.is_active,
            card.version
        from unnest(_card_ids) as queued (card_id)
        inner join app.cards as card on queued.card_id = card.card_id
        where card.tenant_id = index_cards.tenant_id
    ),

    removed as (
        delete from app.card_search as searched
        using card
        where
            not card.is_active
            and searched.tenant_id = index_cards.tenant_id
            and searched.card_id = card.card_id
    )

    insert into app.card_search as searched (tenant_id, card_id, version, title, search_vector)
    select
        card.tenant_id,
        card.card_id,
        card.version,
        app.card_title(card.content),
        app.card_vector(card.content)
    from card
    where card.is_active
    order by card.card_id
    on conflict on constraint card_search_pkey do update
        set
            version = excluded.version,
            title = excluded.title,
            search_vector = excluded.search_vector
        where searched.version < excluded.version;

    return coalesce(cardinality(_queued_ids), 0)::bigint;
end;
$$;

comment on function app.index_cards(uuid, integer) is
$$Brings the search index of a tenant's cards up to date.

Returns how many it processed; fewer than maximum_cards means that none are left for now. 40001: a card has changed
since the transaction's snapshot; run the transaction again.$$;
revoke all on function app.index_cards(uuid, integer) from public;
grant execute on function app.index_cards(uuid, integer) to cardbase_api, cardbase_maintenance;
