-- The access paths of api.list_cards: each ends in card_id, so that a page of the newest is read in order from any
-- depth, with nothing to sort. is_active behind it lets deleted cards be passed over, and cards be counted, in the
-- index alone.
create index cards_active on app.cards (tenant_id, card_id) where is_active;
create index cards_card_type on app.cards (tenant_id, card_type, card_id, is_active);
create index cards_source_session_id on app.cards (tenant_id, source_session_id, card_id, is_active)
where source_session_id is not null;
create index cards_created_by on app.cards (tenant_id, created_by, card_id, is_active);

-- Without statistics the planner takes each value for rare, and so reads its list from its index. Statistics are of all
-- tenants: a value that is common elsewhere would have it walk through all of a tenant's newer cards for the few.
alter table app.cards
alter column card_type set statistics 0,
alter column created_by set statistics 0;
