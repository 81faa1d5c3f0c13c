-- Stores a batch of checked cards: new ones are inserted, those whose content exists already are found.
--   tenant_id           the tenant, already set in the transaction
--   cards               1 to 1,000 entries that app.check_cards has passed
--   source_session_id   default for entries without one
--   created_by          default for entries without one
-- Returns the cards in the order sent, each with created (true for the first entry of a card that this call made),
-- and the counts of entries by card type and result, as measures.
--
-- Correct under concurrency because the unique key of active cards decides, not a look beforehand:
--   * Every batch inserts in the order of the key, so two batches that overlap wait for each other in one order and
--     can't deadlock.
--   * A transaction that meets a key which another one is inserting waits for its end, and then inserts or skips.
--     What was skipped is not visible to the same statement, whose snapshot is older, but to the next.
--   * The card may also have been deleted in between; then the next round inserts it.
-- A batch of new cards is done in one statement; any other in two, unless one of its cards was deleted meanwhile.
create or replace function app.store_cards(
    tenant_id uuid,
    cards jsonb,
    source_session_id uuid,
    created_by text,
    out documents jsonb,
    out created_count integer,
    out measures jsonb
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
-- The target of "on conflict" can't be qualified: there a bare name is the column.
#variable_conflict use_column
declare
    _count constant integer := jsonb_array_length(store_cards.cards);
    _new_ids uuid[];
    _created_ids uuid[] := '{}';
begin
    loop
        with sent as materialized (
            select
                sent.position,
                sent.card ->> 'card_type' as card_type,
                sent.card -> 'content' as content,
                app.content_hash(sent.card -> 'content') as content_hash,
                coalesce((sent.card ->> 'source_session_id')::uuid, store_cards.source_session_id) as source_session_id,
                coalesce(sent.card ->> 'created_by', store_cards.created_by, 'api') as created_by,
                clock_timestamp() as created_at,
                app.uuid_v7() as card_id
            from jsonb_array_elements(store_cards.cards) with ordinality as sent (card, position)
        ),

        inserted as (
            insert into app.cards as card (
                tenant_id,
                card_id,
                card_type,
                content,
                source_session_id,
                created_by,
                created_at,
                updated_at
            )
            select
                store_cards.tenant_id,
                sent.card_id,
                sent.card_type,
                sent.content,
                sent.source_session_id,
                sent.created_by,
                sent.created_at,
                sent.created_at
            from sent
            -- Only spares the work of making a row that the key would refuse: its generated columns. The key decides.
            where
                (
                    select true
                    from app.cards as known
                    where
                        known.tenant_id = store_cards.tenant_id
                        and known.card_type = sent.card_type
                        and known.content_hash = sent.content_hash
                        and known.is_active
                    limit 1
                ) is null
            order by sent.card_type, sent.content_hash, sent.position
            on conflict (tenant_id, card_type, content_hash) where is_active do nothing
            returning card
        ),

        -- For searches: see app.index_cards.
        queued as (
            insert into app.card_search_queue (tenant_id, card_ids)
            select
                store_cards.tenant_id,
                array_agg((inserted.card).card_id)
            from inserted
            having count(*) > 0
        ),

        measure as (
            select app.measure_of_cards((inserted.card).card_type, true, count(*)) as measure
            from inserted
            group by (inserted.card).card_type
        )

        select
            jsonb_agg(
                app.card_document(inserted.card, null) || jsonb_build_object('created', true) order by sent.position
            ),
            array_agg((inserted.card).card_id),
            (select jsonb_agg(measure.measure) from measure)
        into store_cards.documents, _new_ids, store_cards.measures
        from inserted
        inner join sent on sent.card_id = (inserted.card).card_id;

        store_cards.created_count := coalesce(cardinality(_new_ids), 0);
        exit when store_cards.created_count = _count;

        _created_ids := _created_ids || _new_ids;

        with sent as (
            select
                sent.position,
                sent.card ->> 'card_type' as card_type,
                app.content_hash(sent.card -> 'content') as content_hash
            from jsonb_array_elements(store_cards.cards) with ordinality as sent (card, position)
        ),

        entry as (
            select
                sent.*,
                row_number() over (partition by sent.card_type, sent.content_hash order by sent.position) = 1 as is_first
            from sent
        ),

        answer as materialized (
            select
                entry.position,
                entry.card_type,
                app.card_document(stored.card, used.total) as document,
                entry.is_first and (stored.card).card_id = any(_created_ids) as created
            from entry
            -- Looked up one by one, as the limits say: of a join the planner would guess that it pays to read all of
            -- the tenant's cards.
            cross join lateral (
                select cards as card
                from app.cards
                where
                    cards.tenant_id = store_cards.tenant_id
                    and cards.card_type = entry.card_type
                    and cards.content_hash = entry.content_hash
                    and cards.is_active
                limit 1
            ) as stored
            left join lateral (
                select totals as total
                from app.card_usage_totals as totals
                where
                    totals.tenant_id = store_cards.tenant_id
                    and totals.card_id = (stored.card).card_id
                limit 1
            ) as used on true
        ),

        measure as (
            select app.measure_of_cards(answer.card_type, answer.created, count(*)) as measure
            from answer
            group by answer.card_type, answer.created
        )

        select
            coalesce(
                jsonb_agg(answer.document || jsonb_build_object('created', answer.created) order by answer.position),
                '[]'
            ),
            count(*) filter (where answer.created),
            (select jsonb_agg(measure.measure) from measure)
        into store_cards.documents, store_cards.created_count, store_cards.measures
        from answer;

        exit when jsonb_array_length(store_cards.documents) = _count;
    end loop;
end;
$$;

comment on function app.store_cards(uuid, jsonb, uuid, text) is
$$Stores checked cards: inserts the new ones, finds the others.

Returns the cards in the order sent, each with created, how many were created, and the measures.$$;
revoke all on function app.store_cards(uuid, jsonb, uuid, text) from public;
grant execute on function app.store_cards(uuid, jsonb, uuid, text) to cardbase_api;
