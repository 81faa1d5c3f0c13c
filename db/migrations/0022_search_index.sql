-- Deleted cards that a race has left in the search index: they are queued, and leave it with the next search of their
-- tenant or with maintenance. app.index_cards lets no others in.

-- As its owner reads whole tables here; the policies' files shut them again. Nobody writes meanwhile.
alter table app.cards no force row level security;
alter table app.card_search no force row level security;
alter table app.card_search_queue no force row level security;

insert into app.card_search_queue (tenant_id, card_ids)
select
    deleted.tenant_id,
    array_agg(deleted.card_id)
from (
    select
        searched.tenant_id,
        searched.card_id,
        row_number() over (partition by searched.tenant_id order by searched.card_id) / 100 as part
    from app.card_search as searched
    inner join app.cards as card
        on searched.tenant_id = card.tenant_id and searched.card_id = card.card_id
    where not card.is_active
) as deleted
group by deleted.tenant_id, deleted.part;

alter table app.cards force row level security;
alter table app.card_search force row level security;
alter table app.card_search_queue force row level security;
