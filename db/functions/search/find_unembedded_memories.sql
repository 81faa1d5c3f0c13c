-- Memories of a tenant's users that have no embedding by a model, or one of older content; ordered by user and id.
--   tenant_id       the tenant
--   model           the model's name
--   after_user_id   only memories after this user's after_id, the last of the previous step; null: from the start
--   after_id        null: from the start
--   maximum         how many to return at most, 1 to 1,000
-- Returns what to embed, and the SHA-256 to store with it.
-- Errors: 22023, maximum is out of range; PT501 embeddings_not_configured, the server has no pgvector.
create or replace function app.find_unembedded_memories(
    tenant_id uuid,
    model text,
    after_user_id uuid default null,
    after_id uuid default null,
    maximum integer default 100
)
returns table (user_id uuid, id uuid, content text, content_hash bytea)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config('app.current_tenant_id', find_unembedded_memories.tenant_id::text, true);
    perform app.check_embeddings();

    perform app.check_parameter('maximum', find_unembedded_memories.maximum, 1000);

    return query
    select
        memory.user_id,
        memory.id,
        memory.content,
        sha256(convert_to(memory.content, 'UTF8'))
    from app.memories as memory
    where
        memory.tenant_id = find_unembedded_memories.tenant_id
        and memory.deleted_at is null
        and (memory.user_id, memory.id) > (
            coalesce(find_unembedded_memories.after_user_id, '00000000-0000-0000-0000-000000000000'),
            coalesce(find_unembedded_memories.after_id, '00000000-0000-0000-0000-000000000000')
        )
        and not exists (
            select
            from app.memory_embeddings as embedded
            where
                embedded.tenant_id = memory.tenant_id
                and embedded.user_id = memory.user_id
                and embedded.memory_id = memory.id
                and embedded.model = find_unembedded_memories.model
                and embedded.content_hash = sha256(convert_to(memory.content, 'UTF8'))
        )
    order by memory.user_id, memory.id
    limit find_unembedded_memories.maximum;
end;
$$;

comment on function app.find_unembedded_memories(uuid, text, uuid, uuid, integer) is
$$Memories of a tenant's users that have no embedding of their present content by a model.

22023: maximum is out of range. PT501: the server has no pgvector.$$;
alter function app.find_unembedded_memories(uuid, text, uuid, uuid, integer) owner to cardbase_maintenance;
revoke all on function app.find_unembedded_memories(uuid, text, uuid, uuid, integer) from public;
grant execute on function app.find_unembedded_memories(uuid, text, uuid, uuid, integer) to cardbase_worker;
