-- What a user of a tenant owns. The key begins with tenant and user, so each user's rows lie together, newest last, and
-- a reference from row to row stays with its owner. The second index of each table is its list: the rows that are not
-- deleted, in their order, counted without a look at the table. A constraint's comment is what the caller is told.

create table app.memories (
    tenant_id uuid not null,
    user_id uuid not null,
    id uuid not null default app.uuid_v7(),
    content text not null,
    memory_type text not null default 'general',
    metadata jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    constraint memories_pkey primary key (tenant_id, user_id, id),
    constraint memories_content_check check (length(content) between 1 and 100000),
    constraint memories_memory_type_check check (length(memory_type) between 1 and 50),
    constraint memories_metadata_check check (jsonb_typeof(metadata) = 'object')
);
comment on table app.memories is 'What an assistant remembers for a user.';
comment on constraint memories_content_check on app.memories is 'Expected 1 to 100,000 characters.';
comment on constraint memories_memory_type_check on app.memories is 'Expected 1 to 50 characters.';
comment on constraint memories_metadata_check on app.memories is 'Expected an object.';

create index memories_listed on app.memories (tenant_id, user_id, id) where deleted_at is null;
create index memories_memory_type on app.memories (tenant_id, user_id, memory_type, id) where deleted_at is null;

create table app.conversations (
    tenant_id uuid not null,
    user_id uuid not null,
    id uuid not null default app.uuid_v7(),
    title text,
    metadata jsonb not null default '{}',
    message_count integer not null default 0,
    last_message_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    constraint conversations_pkey primary key (tenant_id, user_id, id),
    constraint conversations_title_check check (length(title) between 1 and 500),
    constraint conversations_metadata_check check (jsonb_typeof(metadata) = 'object')
);
comment on table app.conversations is 'A user''s conversations with an assistant.';
comment on column app.conversations.message_count is 'Messages ever taken in; the position of the last one.';
comment on constraint conversations_title_check on app.conversations is 'Expected 1 to 500 characters.';
comment on constraint conversations_metadata_check on app.conversations is 'Expected an object.';

create index conversations_listed on app.conversations (tenant_id, user_id, id) where deleted_at is null;

create table app.messages (
    tenant_id uuid not null,
    user_id uuid not null,
    id uuid not null default app.uuid_v7(),
    conversation_id uuid not null,
    position integer not null,
    role text not null,
    content text not null,
    metadata jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    constraint messages_pkey primary key (tenant_id, user_id, id),
    constraint messages_position_key unique (tenant_id, user_id, conversation_id, position),
    constraint messages_conversation_fkey foreign key (tenant_id, user_id, conversation_id)
    references app.conversations (tenant_id, user_id, id),
    constraint messages_role_check check (role in ('user', 'assistant', 'system', 'tool')),
    constraint messages_content_check check (length(content) between 1 and 100000),
    constraint messages_metadata_check check (jsonb_typeof(metadata) = 'object')
);
comment on table app.messages is 'The messages of conversations, in the order of their positions.';
comment on column app.messages.position is 'Counts the messages of a conversation from 1.';
comment on constraint messages_role_check on app.messages is 'Expected one of user, assistant, system, tool.';
comment on constraint messages_content_check on app.messages is 'Expected 1 to 100,000 characters.';
comment on constraint messages_metadata_check on app.messages is 'Expected an object.';

create index messages_listed on app.messages (tenant_id, user_id, conversation_id, position) where deleted_at is null;

create table app.tasks (
    tenant_id uuid not null,
    user_id uuid not null,
    id uuid not null default app.uuid_v7(),
    title text not null,
    description text,
    status text not null default 'pending',
    priority text not null default 'medium',
    due_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    constraint tasks_pkey primary key (tenant_id, user_id, id),
    constraint tasks_title_check check (length(title) between 1 and 500),
    constraint tasks_description_check check (length(description) between 1 and 20000),
    constraint tasks_status_check check (status in ('pending', 'in_progress', 'completed', 'cancelled')),
    constraint tasks_priority_check check (priority in ('low', 'medium', 'high', 'urgent')),
    constraint tasks_due_at_check check (isfinite(due_at))
);
comment on table app.tasks is 'What a user has to do.';
comment on constraint tasks_title_check on app.tasks is 'Expected 1 to 500 characters.';
comment on constraint tasks_description_check on app.tasks is 'Expected 1 to 20,000 characters.';
comment on constraint tasks_status_check on app.tasks is
'Expected one of pending, in_progress, completed, cancelled.';
comment on constraint tasks_priority_check on app.tasks is 'Expected one of low, medium, high, urgent.';
comment on constraint tasks_due_at_check on app.tasks is 'Expected a point in time.';

create index tasks_listed on app.tasks (tenant_id, user_id, id) where deleted_at is null;
create index tasks_status on app.tasks (tenant_id, user_id, status, id) where deleted_at is null;

create table app.integrations (
    tenant_id uuid not null,
    user_id uuid not null,
    id uuid not null default app.uuid_v7(),
    provider text not null,
    sealed_settings bytea not null,
    setting_names text[] not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    constraint integrations_pkey primary key (tenant_id, user_id, id),
    constraint integrations_provider_check check (length(provider) between 1 and 100),
    constraint integrations_sealed_settings_check check (length(sealed_settings) <= 100000),
    constraint integrations_setting_names_check check (cardinality(setting_names) <= 100)
);
comment on table app.integrations is 'A user''s accounts at other services.';
comment on column app.integrations.sealed_settings is
'Settings and secrets, encrypted with a key that the database does not have. No function answers them.';
comment on column app.integrations.setting_names is 'The names of the settings, without their values.';
comment on constraint integrations_provider_check on app.integrations is 'Expected 1 to 100 characters.';
comment on constraint integrations_sealed_settings_check on app.integrations is
'Expected at most 100,000 bytes, encrypted.';
comment on constraint integrations_setting_names_check on app.integrations is 'Expected at most 100 settings.';

create index integrations_listed on app.integrations (tenant_id, user_id, id) where deleted_at is null;
create index integrations_provider on app.integrations (tenant_id, user_id, provider, id) where deleted_at is null;
