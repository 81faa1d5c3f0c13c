-- Refuses what needs embeddings on a server without the extension vector (pgvector).
-- Errors: PT501 embeddings_not_configured.
create or replace function app.check_embeddings()
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if to_regclass('app.memory_embeddings') is null then
        raise exception using
            errcode = 'PT501',
            message = 'there are no embeddings here',
            detail = 'The database has no extension vector (pgvector).',
            hint = 'Search with mode text; or install pgvector 0.7 or newer and run: cardbase deploy',
            column = 'mode',
            constraint = 'embeddings_not_configured';
    end if;
end;
$$;

comment on function app.check_embeddings() is
$$Refuses what needs embeddings on a server without pgvector.

PT501: the server has no pgvector.$$;
revoke all on function app.check_embeddings() from public;
grant execute on function app.check_embeddings() to cardbase_api, cardbase_maintenance;
