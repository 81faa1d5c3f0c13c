-- Embeddings of memories: the table, its policies and grants. It is created here and not by a migration, as it exists
-- only where the server has pgvector; once somebody has installed that, the next deploy creates it.
-- A half-precision vector without a length: models differ in theirs. app.find_near_memories says why there is no index
-- on nearness.
do $do$
declare
    _schema name;
begin
    select pg_namespace.nspname
    into _schema
    from pg_extension
    inner join pg_namespace on pg_namespace.oid = pg_extension.extnamespace
    inner join pg_type on pg_type.typnamespace = pg_namespace.oid and pg_type.typname = 'halfvec'
    where pg_extension.extname = 'vector';

    if not found then
        return;
    end if;

    if to_regclass('app.memory_embeddings') is null then
        execute format(
            $sql$
            create table app.memory_embeddings (
                tenant_id uuid not null,
                user_id uuid not null,
                memory_id uuid not null,
                model text not null,
                content_hash bytea not null,
                embedding %I.halfvec not null,
                created_at timestamptz not null default clock_timestamp(),
                constraint memory_embeddings_pkey primary key (tenant_id, user_id, memory_id),
                constraint memory_embeddings_memory_fkey foreign key (tenant_id, user_id, memory_id)
                references app.memories (tenant_id, user_id, id),
                constraint memory_embeddings_model_check check (length(model) between 1 and 255)
            )
            $sql$,
            _schema
        );
        comment on table app.memory_embeddings is 'What memories mean, as numbers, for search by nearness.';
        comment on column app.memory_embeddings.content_hash is 'SHA-256 of the content it was made of.';
    end if;

    alter table app.memory_embeddings enable row level security;
    alter table app.memory_embeddings force row level security;

    drop policy if exists "a user's rows are the user's own" on app.memory_embeddings;
    create policy "a user's rows are the user's own" on app.memory_embeddings
    to cardbase_api
    using (tenant_id = app.current_tenant_id() and user_id = app.current_user_id())
    with check (tenant_id = app.current_tenant_id() and user_id = app.current_user_id());

    drop policy if exists "maintenance makes a tenant's embeddings" on app.memory_embeddings;
    create policy "maintenance makes a tenant's embeddings" on app.memory_embeddings
    to cardbase_maintenance
    using (tenant_id = app.current_tenant_id())
    with check (tenant_id = app.current_tenant_id());

    revoke all on table app.memory_embeddings from public;
    grant select on table app.memory_embeddings to cardbase_api;
    grant select, insert, update on table app.memory_embeddings to cardbase_maintenance;
end;
$do$;
