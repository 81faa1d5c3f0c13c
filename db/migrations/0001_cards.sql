-- The answer of every product function. status: HTTP status; headers: response headers or null; body: sent as it
-- is; measures: what the call did, for the caller's metrics, [[metric, {label: value}, count], …] or null.
create type api.reply as (
    status smallint,
    headers jsonb,
    body jsonb,
    measures jsonb
);

create table app.cards (
    tenant_id uuid not null,
    card_id uuid not null default app.uuid_v7(),
    card_type text not null,
    content jsonb not null,
    content_hash bytea not null generated always as (app.content_hash(content)) stored,
    source_session_id uuid,
    created_by text not null default 'api',
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    deleted_at timestamptz,
    is_active boolean not null generated always as (deleted_at is null) stored,
    version integer not null default 1,
    constraint cards_pkey primary key (tenant_id, card_id),
    constraint cards_card_type_check check (card_type = any(app.card_types())),
    constraint cards_content_check check (jsonb_typeof(content) = 'object'),
    constraint cards_created_by_check check (length(created_by) <= 255)
);
comment on table app.cards is 'Small typed JSON documents of a tenant; deleted ones stay, inactive.';
comment on column app.cards.version is 'Raised by each update; the card''s ETag is made of it.';

create unique index cards_content_key on app.cards (tenant_id, card_type, content_hash) where is_active;
create index cards_content on app.cards using gin (tenant_id, content jsonb_path_ops);

-- Counters apart from the cards: an increment rewrites a narrow row, not the JSON, and with room left on the page
-- it touches no index (a heap-only update).
create table app.card_usage_totals (
    tenant_id uuid not null,
    card_id uuid not null,
    usage_count bigint not null,
    last_used_at timestamptz not null,
    constraint card_usage_totals_pkey primary key (tenant_id, card_id),
    constraint card_usage_totals_card_fkey foreign key (tenant_id, card_id)
    references app.cards (tenant_id, card_id)
) with (fillfactor = 50);
comment on table app.card_usage_totals is 'How often each card was used, and when last; no row: never.';

-- An event refers to its card by way of the totals, whose row the same call has just locked: a reference to the card
-- itself would lock the card's row at each event.
create table app.card_usage (
    tenant_id uuid not null,
    card_id uuid not null,
    usage_id uuid not null default app.uuid_v7(),
    workflow_id text,
    workflow_type text,
    session_id text,
    used_at timestamptz not null default clock_timestamp(),
    constraint card_usage_pkey primary key (tenant_id, card_id, usage_id),
    constraint card_usage_total_fkey foreign key (tenant_id, card_id)
    references app.card_usage_totals (tenant_id, card_id),
    constraint card_usage_workflow_id_check check (length(workflow_id) <= 255),
    constraint card_usage_workflow_type_check check (length(workflow_type) <= 100),
    constraint card_usage_session_id_check check (length(session_id) <= 255)
);
comment on table app.card_usage is 'Uses of cards: one for a card and workflow, one for each call without a workflow.';

create unique index card_usage_workflow_key on app.card_usage (tenant_id, card_id, workflow_id)
where workflow_id is not null;
