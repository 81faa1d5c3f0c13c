-- Stores embeddings of memories, replacing older ones.
--   tenant_id        the tenant
--   model            the name of the model that made them
--   user_ids, ids    the memories that they are of
--   content_hashes   as app.find_unembedded_memories returned them
--   embeddings       each as pgvector writes a vector: [0.25,-0.5,…]
-- The four arrays have the same length. Returns how many were stored: a memory that is gone is skipped, and so is one
-- whose content has changed since, as its present content may have its embedding by now.
-- Errors: PT501 embeddings_not_configured, the server has no pgvector; 22P02 and 22000, something is not an embedding.
create or replace function app.store_embeddings(
    tenant_id uuid,
    model text,
    user_ids uuid[],
    ids uuid[],
    content_hashes bytea[],
    embeddings text[]
)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _stored bigint;
begin
    perform set_config('app.current_tenant_id', store_embeddings.tenant_id::text, true);
    perform app.check_embeddings();

    -- In the order of the key, so that two concurrent calls can't deadlock.
    execute format(
        $sql$
        insert into app.memory_embeddings as stored (tenant_id, user_id, memory_id, model, content_hash, embedding)
        select
            memory.tenant_id,
            memory.user_id,
            memory.id,
            $2,
            given.content_hash,
            given.embedding::%I.halfvec
        from unnest($3, $4, $5, $6) as given (user_id, id, content_hash, embedding)
        inner join app.memories as memory
            on memory.tenant_id = $1 and memory.user_id = given.user_id and memory.id = given.id
        where memory.deleted_at is null and sha256(convert_to(memory.content, 'UTF8')) = given.content_hash
        order by memory.user_id, memory.id
        on conflict (tenant_id, user_id, memory_id) do update
        set
            model = excluded.model,
            content_hash = excluded.content_hash,
            embedding = excluded.embedding,
            created_at = excluded.created_at
        $sql$,
        (
            select pg_namespace.nspname
            from pg_extension
            inner join pg_namespace on pg_namespace.oid = pg_extension.extnamespace
            where pg_extension.extname = 'vector'
        )
    )
    using
        store_embeddings.tenant_id,
        store_embeddings.model,
        store_embeddings.user_ids,
        store_embeddings.ids,
        store_embeddings.content_hashes,
        store_embeddings.embeddings;

    get diagnostics _stored = row_count;
    return _stored;
end;
$$;

comment on function app.store_embeddings(uuid, text, uuid[], uuid[], bytea[], text[]) is
$$Stores embeddings of memories, replacing older ones, and returns how many.

PT501: the server has no pgvector. 22P02, 22000: something is not an embedding.$$;
alter function app.store_embeddings(uuid, text, uuid[], uuid[], bytea[], text[]) owner to cardbase_maintenance;
revoke all on function app.store_embeddings(uuid, text, uuid[], uuid[], bytea[], text[]) from public;
grant execute on function app.store_embeddings(uuid, text, uuid[], uuid[], bytea[], text[]) to cardbase_worker;
