-- The caller's memories that are nearest in meaning, the nearest first.
--   tenant_id, user_id   the caller's tenant and user, already set in the transaction
--   embedding            the embedding of what is searched for
--   embedding_model      the model that made it: only its embeddings are compared
--   maximum              how many to return at most
-- Returns ids with their cosine distance, which is under 0.8: anything farther is not near at all. A memory whose
-- content has changed since its embedding was computed is not among them.
-- Errors: PT501 embeddings_not_configured, the server has no pgvector.
--
-- All embeddings of the user are compared: that is exact, and an index on nearness would find the nearest of all
-- tenants, among which a user's are few. One process does it: parallel workers would cost more in total than they save.
-- Type and operator are named in strings, as not every server has them.
create or replace function app.find_near_memories(
    tenant_id uuid,
    user_id uuid,
    embedding real[],
    embedding_model text,
    maximum integer
)
returns table (id uuid, distance double precision)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set jit = off
set max_parallel_workers_per_gather = 0
as $$
begin
    perform app.check_embeddings();

    return query execute format(
        $sql$
        select
            near.memory_id,
            near.distance
        from (
            select
                embedded.memory_id,
                embedded.content_hash,
                embedded.embedding operator(%1$I.<=>) $3::%1$I.halfvec as distance
            from app.memory_embeddings as embedded
            where
                embedded.tenant_id = $1
                and embedded.user_id = $2
                and embedded.model = $4
                and %1$I.vector_dims(embedded.embedding) = cardinality($3)
            order by distance
            limit $5
        ) as near
        inner join app.memories as memory
            on memory.tenant_id = $1 and memory.user_id = $2 and memory.id = near.memory_id
        where
            near.distance < 0.8
            and memory.deleted_at is null
            and sha256(convert_to(memory.content, 'UTF8')) = near.content_hash
        order by near.distance
        $sql$,
        (
            select pg_namespace.nspname
            from pg_extension
            inner join pg_namespace on pg_namespace.oid = pg_extension.extnamespace
            where pg_extension.extname = 'vector'
        )
    )
    using
        find_near_memories.tenant_id,
        find_near_memories.user_id,
        find_near_memories.embedding,
        find_near_memories.embedding_model,
        find_near_memories.maximum;
end;
$$;

comment on function app.find_near_memories(uuid, uuid, real[], text, integer) is
$$The caller's memories that are nearest in meaning, the nearest first.

PT501: the server has no pgvector.$$;
revoke all on function app.find_near_memories(uuid, uuid, real[], text, integer) from public;
grant execute on function app.find_near_memories(uuid, uuid, real[], text, integer) to cardbase_api;
