-- Search finds by user and words, or tenant and words: users' ids are not shared by tenants, and each further key takes
-- as long to be held against as the words do. User and tenant stand there in a form that no other index knows, so that
-- plans kept for long can be by no other (app.find_matches).
drop index app.memories_search;
create index memories_search on app.memories using gin ((array[user_id]), search_vector)
with (gin_pending_list_limit = 1024)
where deleted_at is null;

drop index app.messages_search;
create index messages_search on app.messages using gin ((array[user_id]), search_vector)
with (gin_pending_list_limit = 1024)
where deleted_at is null;

-- The class of operators is found wherever the extension was put.
drop index app.tasks_search;
drop index app.card_search_words;
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
        'create index tasks_search on app.tasks using gin ((array[user_id]), search_vector, title %I.gin_trgm_ops) '
        'with (gin_pending_list_limit = 1024) where deleted_at is null',
        _schema
    );
    execute format(
        'create index card_search_words on app.card_search '
        'using gin ((array[tenant_id]), search_vector, title %I.gin_trgm_ops) with (gin_pending_list_limit = 1024)',
        _schema
    );
end;
$do$;
