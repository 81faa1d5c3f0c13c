-- Migrations 0001 to 0015 were edited after they had been applied. This makes every database that took an earlier text
-- (texts.sha256 lists them) the same as one that took the present ones; where nothing differs, it changes nothing.

comment on table app.card_usage is 'Uses of cards: one for a card and workflow, one for each call without a workflow.';

-- 0003: without these columns, a list reads the table for what its other filters leave out.
do $do$
begin
    if (select indnatts from pg_index where indexrelid = 'app.cards_card_type'::regclass) = 4 then
        drop index app.cards_card_type, app.cards_source_session_id;
        create index cards_card_type on app.cards (tenant_id, card_type, card_id, is_active, created_by);
        create index cards_source_session_id on app.cards (
            tenant_id, source_session_id, card_id, is_active, card_type, created_by
        )
        where source_session_id is not null;
    end if;
end;
$do$;

-- 0015: the files that come after make the present functions.
drop function if exists app.run_maintenance(integer, integer, integer, integer);
drop function if exists api.is_ready();
drop function if exists api.task_queue_state();
drop function if exists app.check_maximum_rows(integer);

-- Replaced without a migration: requests are identified by their hash, and a finder reads titles that are stored.
drop function if exists api.claim_request(uuid, text, text, jsonb);
drop function if exists api.remember_request(uuid, text, text, jsonb, integer, bigint, bigint, jsonb);
revoke all on function app.card_title(jsonb) from cardbase_finder;
