-- What cards are found by in searches, apart from the cards: to make and index it takes longer than to store the card,
-- so that is done when somebody searches, or by maintenance meanwhile. A search finds what was stored before it all the
-- same: app.index_cards comes first.
create table app.card_search (
    tenant_id uuid not null,
    card_id uuid not null,
    version integer not null,
    title text,
    search_vector tsvector not null,
    constraint card_search_pkey primary key (tenant_id, card_id),
    constraint card_search_card_fkey foreign key (tenant_id, card_id) references app.cards (tenant_id, card_id)
);
comment on table app.card_search is 'What active cards are found by: their names and the words of their contents.';
comment on column app.card_search.version is 'Of the card that it was made of.';

create table app.card_search_queue (
    tenant_id uuid not null,
    queue_id uuid not null default app.uuid_v7(),
    card_ids uuid[] not null,
    constraint card_search_queue_pkey primary key (tenant_id, queue_id)
);
comment on table app.card_search_queue is
'Cards that were stored, changed or deleted since app.card_search has last seen them.';

-- The class of operators is found wherever the extension was put. What is new waits in a list that each search reads
-- through, hence of a megabyte at most.
do $do$
begin
    execute format(
        'create index card_search_words on app.card_search '
        'using gin (tenant_id, search_vector, title %I.gin_trgm_ops) with (gin_pending_list_limit = 1024)',
        (
            select pg_namespace.nspname
            from pg_extension
            inner join pg_namespace on pg_namespace.oid = pg_extension.extnamespace
            where pg_extension.extname = 'pg_trgm'
        )
    );
end;
$do$;

-- As its owner reads the whole table here. Nobody writes meanwhile.
alter table app.cards no force row level security;

insert into app.card_search_queue (tenant_id, card_ids)
select
    tenant_id,
    array_agg(card_id)
from (
    select
        tenant_id,
        card_id,
        row_number() over (partition by tenant_id order by card_id) / 100 as part
    from app.cards
    where is_active
) as existing
group by tenant_id, part;

alter table app.cards force row level security;

-- Takes the index cards_search with it.
alter table app.cards drop column search_vector;
