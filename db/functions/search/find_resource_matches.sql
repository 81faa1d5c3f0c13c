-- What a search finds in one table. The caller reads the rows by their ids, through the policies:
--   app.find_memory_matches, find_message_matches, find_task_matches, find_card_matches: the ids of the best matches,
--   with their rank, the best first
--   app.find_task_names, find_card_names: the ids of those whose names look most like q, with the similarity, from
--   0.5 to 1, the best first; what the words of q find is left out
-- They take
--   tenant_id, user_id   the caller's tenant and user, already set in the transaction; for others nothing is found
--   query or q           what is searched for: its words, as websearch_to_tsquery reads them, or the text itself
--   maximum              how many to return at most
-- They are generated from one text each, with the table's names in it, here and not when they are called: so a session
-- keeps their plans, as planning takes as long as searching.
--
-- Ranking everything that has a common word would take too long: so the newest are ranked, fifty candidates for each
-- match requested, and there are two ways to find them. What at least every fiftieth of the newest rows has, and what
-- no index can find, such as everything without a word, is looked for among the newest rows, down the key. Everything
-- else is found by the index on words. The planner can't know how many rows those are: it must neither scan the table
-- nor go down the key past rows without the word. (Settings changed here are restored when the function ends, as they
-- are among the function's settings.) And a plan may be as old as the session, from a time when the table was empty:
-- the rows are named in a form that no other index knows.
-- A deleted card stays in the index until app.index_cards removes it, and must not use up what may be found. To look up
-- a thousand candidates would take longer than to rank them, so that is done only while the tenant has cards to index;
-- matches are looked up, best first, in any case.
-- Tasks' titles and cards' names have an index on their trigrams. For each match requested, ten that look like q are
-- compared.
--
-- They run as the finder, as behind a policy that compares anything "@@" can't be an index condition (see
-- app.find_cards).
do $do$
declare
    _trigrams constant name := (
        select pg_namespace.nspname
        from pg_extension
        inner join pg_namespace on pg_namespace.oid = pg_extension.extnamespace
        where pg_extension.extname = 'pg_trgm'
    );
    _own constant text :=
        'resource.tenant_id = %1$I.tenant_id and resource.user_id = %1$I.user_id and resource.deleted_at is null';
    -- A subquery with one row: no plan can turn it into a join that reads all cards.
    _active constant text :=
        '(select card.is_active from app.cards as card where card.tenant_id = %1$I.tenant_id and card.card_id = %2$s)';
    _active_or_indexed constant text :=
        '(not exists (select from app.card_search_queue as queue where queue.tenant_id = %1$I.tenant_id) or '
        || _active || ')';
    _own_by_words constant text :=
        'resource.tenant_id is not distinct from %1$I.tenant_id'
        ' and array[resource.user_id] @> array[%1$I.user_id] and resource.deleted_at is null';
    _rights constant text :=
        'comment on function app.%1$I(uuid, uuid, %2$s, integer) is %3$L;'
        'alter function app.%1$I(uuid, uuid, %2$s, integer) owner to cardbase_finder;'
        'revoke all on function app.%1$I(uuid, uuid, %2$s, integer) from public;'
        'grant execute on function app.%1$I(uuid, uuid, %2$s, integer) to cardbase_api;';
    _table record;
begin
    for _table in
        select
            format('find_%s_matches', app.resource_name(searched.types)) as function_name,
            format('find_%s_names', app.resource_name(searched.types)) as names_function_name,
            *
        from (
            values
            ('memories', 'memories', 'id', _own, _own_by_words, 'true', 'true', false),
            ('messages', 'messages', 'id', _own, _own_by_words, 'true', 'true', false),
            ('tasks', 'tasks', 'id', _own, _own_by_words, 'true', 'true', true),
            (
                'cards',
                'card_search',
                'card_id',
                'resource.tenant_id = %1$I.tenant_id',
                'array[resource.tenant_id] @> array[%1$I.tenant_id]',
                _active_or_indexed,
                _active,
                true
            )
        ) as searched (types, name, key, newest, by_words, is_candidate, is_match, has_names)
    loop
        execute format(
            $sql$
create or replace function app.%1$I(tenant_id uuid, user_id uuid, query tsquery, maximum integer)
returns table (id uuid, rank real)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
set enable_seqscan = off
set enable_indexscan = on
set enable_bitmapscan = off
as $function$
declare
    -- With an empty query the whole index would be read.
    _has_index constant boolean := querytree(%1$I.query) not in ('', 'T');
    _candidates constant integer := 50 * %1$I.maximum;
    _found integer := 0;
begin
    if (%1$I.tenant_id = app.current_tenant_id() and %1$I.user_id = app.current_user_id()) is not true then
        return;
    end if;

    if numnode(%1$I.query) > 0 then
        select count(*)
        into _found
        from (
            select resource.search_vector
            from app.%2$I as resource
            where %4$s
            order by resource.%3$I desc
            limit 200
        ) as newest
        where newest.search_vector @@ %1$I.query;

        if _has_index and _found < 4 then
            perform set_config('enable_bitmapscan', 'on', true), set_config('enable_indexscan', 'off', true);

            return query
            select
                ranked.id,
                ranked.rank
            from (
                select
                    candidate.id,
                    ts_rank(candidate.search_vector, %1$I.query, 1) as rank
                from (
                    select
                        found.id,
                        found.search_vector
                    from (
                        select
                            resource.%3$I as id,
                            resource.search_vector
                        from app.%2$I as resource
                        where %5$s and resource.search_vector @@ %1$I.query and %6$s
                        -- Without a bound, a word that only older rows have could be in all of them.
                        limit 10 * _candidates
                    ) as found
                    order by found.id desc
                    limit _candidates
                ) as candidate
                order by 2 desc, 1 desc
            ) as ranked
            where %7$s
            order by 2 desc, 1 desc
            limit %1$I.maximum;
        else
            return query
            select
                ranked.id,
                ranked.rank
            from (
                select
                    newest.id,
                    ts_rank(newest.search_vector, %1$I.query, 1) as rank
                from (
                    select
                        resource.%3$I as id,
                        resource.search_vector
                    from app.%2$I as resource
                    where %4$s and %6$s
                    order by resource.%3$I desc
                    limit _candidates
                ) as newest
                where newest.search_vector @@ %1$I.query
                order by 2 desc, 1 desc
            ) as ranked
            where %7$s
            order by 2 desc, 1 desc
            limit %1$I.maximum;
        end if;
    end if;
end;
$function$
            $sql$,
            _table.function_name,
            _table.name,
            _table.key,
            format(_table.newest, _table.function_name),
            format(_table.by_words, _table.function_name),
            format(_table.is_candidate, _table.function_name, 'resource.card_id'),
            format(_table.is_match, _table.function_name, 'ranked.id')
        );
        execute format(
            _rights,
            _table.function_name,
            'tsquery',
            format(
                e'The ids of the best matches of a search in %s, with their rank.\n\n'
                'Only for the tenant and user of the running transaction.',
                _table.types
            )
        );
        continue when not _table.has_names;

        execute format(
            $sql$
create or replace function app.%1$I(tenant_id uuid, user_id uuid, q text, maximum integer)
returns table (id uuid, similarity real)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
set enable_seqscan = off
set enable_indexscan = off
as $function$
declare
    _query constant tsquery := websearch_to_tsquery('pg_catalog.english', %1$I.q);
begin
    if (%1$I.tenant_id = app.current_tenant_id() and %1$I.user_id = app.current_user_id()) is not true
        or %1$I.maximum < 1
        or %1$I.q !~ '[[:alnum:]]'
    then
        return;
    end if;

    -- The default lets no typing error in a short name pass. Set until the transaction ends: a function can't have a
    -- setting of a library that is not loaded yet.
    perform set_config('pg_trgm.word_similarity_threshold', '0.5', true);

    return query
    select
        candidate.id,
        %5$I.word_similarity(%1$I.q, candidate.title)
    from (
        select
            resource.%3$I as id,
            resource.title
        from app.%2$I as resource
        where %4$s and %1$I.q operator(%5$I.<%%) resource.title and not resource.search_vector @@ _query
            and %6$s
        limit 10 * %1$I.maximum
    ) as candidate
    order by 2 desc, 1 desc
    limit %1$I.maximum;
end;
$function$
            $sql$,
            _table.names_function_name,
            _table.name,
            _table.key,
            format(_table.by_words, _table.names_function_name),
            _trigrams,
            format(_table.is_match, _table.names_function_name, 'resource.card_id')
        );
        execute format(
            _rights,
            _table.names_function_name,
            'text',
            format(
                e'The ids of the %s whose names look most like what is searched for, with their similarity.\n\n'
                'Only for the tenant and user of the running transaction.',
                _table.types
            )
        );
    end loop;
end;
$do$;
