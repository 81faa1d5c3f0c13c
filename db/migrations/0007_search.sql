-- What search finds rows by. A stored column writes its table anew, and nobody reads that meanwhile: for cards it
-- takes up to two minutes for each million. The other tables are as new as this.
alter table app.memories
add column search_vector tsvector not null generated always as (app.text_vector(null, content)) stored;
alter table app.messages
add column search_vector tsvector not null generated always as (app.text_vector(null, content)) stored;
alter table app.tasks
add column search_vector tsvector not null generated always as (app.text_vector(title, description)) stored;
alter table app.cards
add column search_vector tsvector not null generated always as (app.card_vector(content)) stored;

-- What is new waits in a list that each search reads through, hence of a megabyte at most.
create index memories_search on app.memories using gin (tenant_id, user_id, search_vector)
with (gin_pending_list_limit = 1024)
where deleted_at is null;
create index messages_search on app.messages using gin (tenant_id, user_id, search_vector)
with (gin_pending_list_limit = 1024)
where deleted_at is null;

-- The class of operators is found wherever the extension was put.
do $do$
declare
    _schema constant name := (
        select pg_namespace.nspname
        from pg_extension
        inner join pg_namespace on pg_namespace.oid = pg_extension.extnamespace
        where pg_extension.extname = 'pg_trgm'
    );
begin
    execute format(
        'create index tasks_search on app.tasks using gin (tenant_id, user_id, search_vector, title %I.gin_trgm_ops) '
        'with (gin_pending_list_limit = 1024) where deleted_at is null',
        _schema
    );
    execute format(
        'create index cards_search on app.cards '
        'using gin (tenant_id, search_vector, app.card_title(content) %I.gin_trgm_ops) '
        'with (gin_pending_list_limit = 1024) where is_active',
        _schema
    );
end;
$do$;
