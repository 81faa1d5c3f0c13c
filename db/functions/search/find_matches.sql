-- The best matches of a search in one table, for the caller to read the rows by, through the policies.
--   tenant_id, user_id   the caller's tenant and user, already applied to the transaction; for others nothing is found
--   table_name           one of app.search_types
--   q                    what is searched for, as websearch_to_tsquery reads it
--   maximum              how many at most
-- Answers ids with their rank, the best first.
--
-- To rank all that a common word is in would take longer than anybody waits: so the newest are ranked, fifty candidates
-- for each match asked for, and there are two ways to them. What at least every fiftieth of the newest rows has, and
-- what no index can find, such as all that lacks a word, is looked for among the newest rows, down the key. Everything
-- else is found by the index on words. The planner can't know how many rows that are: it must neither read the table
-- through nor go down the key past rows without the word. (What is set here is as before when the function ends, as it
-- is among its own settings.)
-- Where words find less than was asked for, names follow that look like what is searched for: tasks' titles and cards'
-- names have an index on their trigrams.
--
-- It runs as the finder, as behind a policy that compares anything "@@" can't be an index condition (see
-- app.find_cards). Names of tables and columns are its own words, never the caller's.
create or replace function app.find_matches(
    tenant_id uuid,
    user_id uuid,
    table_name text,
    q text,
    maximum integer
)
returns table (id uuid, rank real)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
set enable_seqscan = off
set enable_indexscan = on
as $$
declare
    _query constant tsquery := websearch_to_tsquery('pg_catalog.english', find_matches.q);
    -- Where this is empty the index would be read through.
    _has_index constant boolean := querytree(_query) not in ('', 'T');
    _key constant text := case find_matches.table_name when 'cards' then 'card_id' else 'id' end;
    _title constant text := case find_matches.table_name
        when 'tasks' then 'resource.title'
        when 'cards' then 'app.card_title(resource.content)'
    end;
    _rows constant text := case find_matches.table_name
        when 'cards' then 'resource.tenant_id = $1 and resource.is_active'
        else 'resource.tenant_id = $1 and resource.user_id = $2 and resource.deleted_at is null'
    end;
    _template constant text := format(
        $sql$
        select
            candidate.id,
            ts_rank(candidate.search_vector, $3, 1)
        from (
            select
                searched.id,
                searched.search_vector
            from (
                select
                    resource.%1$I as id,
                    resource.search_vector
                from app.%2$I as resource
                where %3$s %%s
            ) as searched
            order by searched.id desc
            limit $4
        ) as candidate
        where candidate.search_vector @@ $3
        order by 2 desc, 1 desc
        $sql$,
        _key,
        find_matches.table_name,
        _rows
    );
    _newest constant text := format(_template, '');
    -- Without a bound, a word that only older rows have could be in all of them.
    _indexed constant text := format(_template, 'and resource.search_vector @@ $3 limit 10 * $4');
    _candidates constant integer := 50 * find_matches.maximum;
    _ranked text;
    _found integer := 0;
    _trigrams text;
begin
    if (find_matches.tenant_id = app.current_tenant_id() and find_matches.user_id = app.current_user_id()) is not true then
        return;
    end if;

    if numnode(_query) > 0 then
        execute format('select count(*) from (%s) as match', _newest)
        into _found
        using find_matches.tenant_id, find_matches.user_id, _query, 200;

        if _has_index and _found < 4 then
            perform set_config('enable_indexscan', 'off', true);
            _ranked := _indexed;
        else
            _ranked := _newest;
        end if;
        return query execute _ranked || ' limit $5'
        using find_matches.tenant_id, find_matches.user_id, _query, _candidates, find_matches.maximum;
        get diagnostics _found = row_count;
    end if;

    if _found < find_matches.maximum and _title is not null and find_matches.q ~ '[[:alnum:]]' then
        select pg_namespace.nspname
        into _trigrams
        from pg_extension
        inner join pg_namespace on pg_namespace.oid = pg_extension.extnamespace
        where pg_extension.extname = 'pg_trgm';

        perform set_config('enable_indexscan', 'off', true);
        -- Its own lets no slip in a short name pass. Until the transaction ends: a function can't have a setting of a
        -- library that is not loaded yet.
        perform set_config('pg_trgm.word_similarity_threshold', '0.5', true);

        return query execute format(
            $sql$
            select
                candidate.id,
                (0.1 * %5$I.word_similarity($3, candidate.title))::real
            from (
                select
                    resource.%1$I as id,
                    %4$s as title
                from app.%2$I as resource
                where %3$s and $3 operator(%5$I.<%%) %4$s and not resource.search_vector @@ $5
                limit $6
            ) as candidate
            order by 2 desc, 1 desc
            limit $4
            $sql$,
            _key,
            find_matches.table_name,
            _rows,
            _title,
            _trigrams
        )
        using
            find_matches.tenant_id,
            find_matches.user_id,
            find_matches.q,
            find_matches.maximum - _found,
            _query,
            _candidates;
    end if;
end;
$$;

comment on function app.find_matches(uuid, uuid, text, text, integer) is
$$The ids of the best matches of a search in one table, with their rank.

Only for the tenant and user of the running transaction.$$;
alter function app.find_matches(uuid, uuid, text, text, integer) owner to cardbase_finder;
revoke all on function app.find_matches(uuid, uuid, text, text, integer) from public;
grant execute on function app.find_matches(uuid, uuid, text, text, integer) to cardbase_api;
