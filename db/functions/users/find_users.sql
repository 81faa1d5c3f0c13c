-- The users of a tenant whose name or email address has a word that begins with a text, or one similar to it.
--   tenant_id   the tenant, already set in the transaction; for any other no users are found
--   q           the text, in lower case
--   maximum     how many to return at most
-- Returns a JSON array of {id, display_name, avatar_url}, the most similar first: those with a word that begins so;
-- where there are none, those with a similar one. Of very many candidates only some are compared.
--
-- Behind a policy neither "like" nor the operators of pg_trgm can be index conditions, so it runs as the finder, and
-- returns nothing that is not for the whole tenant. Its names are resolved wherever the extension was put, hence "begin
-- atomic"; the extension's default threshold would let no typing error in a short name pass.
do $do$
begin
    perform set_config(
        'search_path',
        format(
            'pg_catalog, %I, pg_temp',
            (select pg_namespace.nspname
            from pg_extension
            inner join pg_namespace on pg_namespace.oid = pg_extension.extnamespace
            where pg_extension.extname = 'pg_trgm')
        ),
        true
    );
end;
$do$;

create or replace function app.find_users(tenant_id uuid, q text, maximum integer)
returns jsonb
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
begin atomic
    select set_config('pg_trgm.word_similarity_threshold', '0.3', true);

    with beginning as materialized (
        select
            member.user_id,
            member.display_name,
            member.avatar_url,
            member.search_text
        from app.users as member
        where
            member.tenant_id = find_users.tenant_id
            and member.tenant_id = app.current_tenant_id()
            and member.deleted_at is null
            and member.search_text like
            '% ' || replace(replace(replace(find_users.q, '\', '\\'), '%', '\%'), '_', '\_') || '%'
        limit 200  -- noqa: AM09
    ),

    similar_to as materialized (
        select
            member.user_id,
            member.display_name,
            member.avatar_url,
            member.search_text
        from app.users as member
        where
            member.tenant_id = find_users.tenant_id
            and member.tenant_id = app.current_tenant_id()
            and member.deleted_at is null
            and find_users.q <% member.search_text
            and length(find_users.q) > 2
            and not exists (select from beginning)
        limit 1000  -- noqa: AM09
    ),

    matched as (
        select
            candidate.user_id,
            candidate.display_name,
            candidate.avatar_url,
            word_similarity(find_users.q, candidate.search_text) as similarity
        from (
            select beginning.* from beginning
            union all
            select similar_to.* from similar_to
        ) as candidate
        order by similarity desc, candidate.user_id asc
        limit find_users.maximum
    )

    select
        coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'id', matched.user_id, 'display_name', matched.display_name, 'avatar_url', matched.avatar_url
                )
                order by matched.similarity desc, matched.user_id asc
            ),
            '[]'
        )
    from matched;
end;

comment on function app.find_users(uuid, text, integer) is
$$The users of a tenant whose name or email address begins with a text or is similar to it, with what all may see.

Only for the tenant of the running transaction.$$;
alter function app.find_users(uuid, text, integer) owner to cardbase_finder;
revoke all on function app.find_users(uuid, text, integer) from public;
grant execute on function app.find_users(uuid, text, integer) to cardbase_api;
