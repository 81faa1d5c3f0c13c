-- The access paths of api.list_cards. In each the filter's column leads and card_id follows, so that a page of the
-- newest is read in order from any depth, with nothing to sort. What other filters leave out is passed over by the
-- columns behind, in the index alone.
create index cards_active on app.cards (tenant_id, card_id) where is_active;
create index cards_created_by on app.cards (tenant_id, created_by, card_id, is_active);
create index cards_card_type on app.cards (tenant_id, card_type, card_id, is_active, created_by);
create index cards_source_session_id on app.cards (
    tenant_id, source_session_id, card_id, is_active, card_type, created_by
)
where source_session_id is not null;

-- Without statistics the planner takes each value for rare, and so reads its list from its index. With them, a value
-- that is common, perhaps only elsewhere, would have it walk through all of a tenant's newer cards for a few.
alter table app.cards
alter column card_type set statistics 0,
alter column created_by set statistics 0;
