-- How many rows each list has: to count 100,000 of them for each page shown would take many times as long as the page.
-- Several rows add up to a total, so that transactions that run at the same time each have one of their own to change:
-- none waits for another (app.add_to_total).

create table app.resource_totals (
    tenant_id uuid not null,
    user_id uuid not null,
    table_name text not null,
    group_name text not null,
    slot uuid not null default app.uuid_v7(),
    total bigint not null,
    constraint resource_totals_pkey primary key (tenant_id, user_id, table_name, group_name, slot)
)
-- Each change is an update; with room on the page it touches no index.
with (fillfactor = 50);
comment on table app.resource_totals is
'How many rows that are not deleted a user has in a table, by app.resource_group.';
comment on column app.resource_totals.group_name is 'The value of the column app.resource_group; empty: there is none.';
comment on column app.resource_totals.total is
'Of what one slot has counted: below 0 where others counted what it took off.';

-- As its owner reads whole tables here; the policies' files shut them again. Nobody writes meanwhile.
alter table app.memories no force row level security;
alter table app.conversations no force row level security;
alter table app.messages no force row level security;
alter table app.tasks no force row level security;
alter table app.integrations no force row level security;

insert into app.resource_totals (tenant_id, user_id, table_name, group_name, total)
select
    counted.tenant_id,
    counted.user_id,
    counted.table_name,
    counted.group_name,
    count(*)
from (
    select
        tenant_id,
        user_id,
        'memories' as table_name,
        memory_type as group_name
    from app.memories
    where deleted_at is null
    union all
    select
        tenant_id,
        user_id,
        'conversations',
        ''
    from app.conversations
    where deleted_at is null
    union all
    select
        tenant_id,
        user_id,
        'messages',
        conversation_id::text
    from app.messages
    where deleted_at is null
    union all
    select
        tenant_id,
        user_id,
        'tasks',
        status
    from app.tasks
    where deleted_at is null
    union all
    select
        tenant_id,
        user_id,
        'integrations',
        provider
    from app.integrations
    where deleted_at is null
) as counted
group by counted.tenant_id, counted.user_id, counted.table_name, counted.group_name;
