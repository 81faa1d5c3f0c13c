-- Enqueues the job that computes a memory's embedding, where that is configured: EMBED_MEMORIES, which `cardbase
-- deploy` writes, and pgvector. It refuses nothing, so that the memory is stored in any case.
--   memory_id   one of the caller's memories, whose content is new
create or replace function app.enqueue_embedding(memory_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    if app.setting('embed_memories', 'false')::boolean and to_regclass('app.memory_embeddings') is not null then
        perform app.enqueue(
            app.current_tenant_id(),
            app.current_user_id(),
            'embed_memory',
            jsonb_build_object('memory_id', enqueue_embedding.memory_id),
            'low'
        );
    end if;
end;
$$;

comment on function app.enqueue_embedding(uuid) is
$$Enqueues the job that computes a memory's embedding, where that is configured.$$;
revoke all on function app.enqueue_embedding(uuid) from public;
grant execute on function app.enqueue_embedding(uuid) to cardbase_api;
