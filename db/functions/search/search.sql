-- Searches the caller's memories, messages and tasks, and the tenant's cards.
--   tenant_id, user_id   the caller's tenant and user
--   q                    what is searched for, 1 to 500 characters: words, "phrases", or, -without
--   types                only these of app.search_types, also in the singular, as matches name them; null: all
--   limit                at most this many matches, 1 to 100; null: 20
--   mode                 text: by words and names; hybrid: memories also by nearness in meaning; null: text
--   embedding            of q, for hybrid: 1 to 16,000 numbers
--   embedding_model      the model that made it
-- Returns 200 with the matches, best first, as {"type", "id", "title", "snippet", "highlight", "rank", "created_at"},
-- and meta {"mode", "types", "limit", "count"}. title is null where there is none; highlight is HTML, as
-- app.search_excerpt makes it.
-- Cards that were stored since the last search are indexed first: see app.index_cards.
-- Errors: PT401 unauthenticated, the caller is not a user; PT422 validation_error; PT501 embeddings_not_configured, the
-- server has no pgvector.
--
-- hybrid puts two lists together by reciprocal rank fusion: a match's rank is the sum of 1 / (60 + its place) over the
-- lists it is in. Ranks are comparable within one response only.
create or replace function api.search(
    tenant_id uuid,
    user_id uuid,
    q text,
    types text[] default null,
    "limit" integer default 20,
    mode text default 'text',
    embedding real[] default null,
    embedding_model text default null
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set client_min_messages = warning
as $$
declare
    _limit constant integer := coalesce(search."limit", 20);
    _mode constant text := coalesce(search.mode, 'text');
    _query constant tsquery := websearch_to_tsquery('pg_catalog.english', left(search.q, 500));
    -- Fusion works well only where both lists are long.
    _maximum constant integer := case _mode when 'hybrid' then greatest(_limit, 50) else _limit end;
    _types text[];
    _type text;
    _data jsonb;
begin
    perform app.set_caller(search.tenant_id, search.user_id);
    perform app.check_length('q', search.q, 500);
    if search.q is null or search.q !~ '\S' then
        raise exception using
            errcode = 'PT422',
            message = 'q is not valid',
            detail = 'Expected 1 to 500 characters, not only white space.',
            hint = 'Send the words to search for.',
            column = 'q',
            constraint = 'validation_error';
    end if;
    if search.types is not null then
        foreach _type in array case cardinality(search.types) when 0 then array[''] else search.types end loop
            perform app.check_choice('types', _type, app.search_types() || array['memory', 'message', 'task', 'card']);
        end loop;
    end if;
    perform app.check_range('limit', _limit, 1, 100);
    perform app.check_choice('mode', _mode, array['text', 'hybrid']);
    if _mode = 'hybrid' then
        perform app.check_embeddings();
        perform app.check_range('embedding', cardinality(search.embedding), 1, 16000);
        perform app.check_range('embedding_model', length(search.embedding_model), 1, 255);
    end if;

    _types := array(
        select searched.name
        from unnest(app.search_types()) with ordinality as searched (name, position)
        where
            search.types is null
            or searched.name = any(search.types)
            or app.resource_name(searched.name) = any(search.types)
        order by searched.position
    );

    if 'cards' = any(_types) then
        perform app.index_cards(search.tenant_id);
    end if;

    with worded as materialized (
        select
            'memories' as table_name,
            match.id,
            match.rank
        from app.find_memory_matches(search.tenant_id, search.user_id, _query, _maximum) as match
        where 'memories' = any(_types)
        union all
        select
            'messages',
            match.id,
            match.rank
        from app.find_message_matches(search.tenant_id, search.user_id, _query, _maximum) as match
        where 'messages' = any(_types)
        union all
        select
            'tasks',
            match.id,
            match.rank
        from app.find_task_matches(search.tenant_id, search.user_id, _query, _maximum) as match
        where 'tasks' = any(_types)
        union all
        select
            'cards',
            match.id,
            match.rank
        from app.find_card_matches(search.tenant_id, search.user_id, _query, _maximum) as match
        where 'cards' = any(_types)
    ),

    words as (
        select
            count(*)::integer as number,
            least(nullif(min(worded.rank), 0), 0.1) as least_rank
        from worded
    ),

    -- Where words find less than was requested, names follow, behind everything that words found.
    named as (
        select
            'tasks' as table_name,
            match.id,
            (match.similarity * words.least_rank)::real as rank
        from words
        cross join lateral app.find_task_names(
            search.tenant_id, search.user_id, search.q, _maximum - words.number
        ) as match
        where words.number < _maximum and 'tasks' = any(_types)
        union all
        select
            'cards',
            match.id,
            (match.similarity * words.least_rank)::real
        from words
        cross join lateral app.find_card_names(
            search.tenant_id, search.user_id, search.q, _maximum - words.number
        ) as match
        where words.number < _maximum and 'cards' = any(_types)
    ),

    matched as (
        select
            listed.*,
            row_number() over (order by listed.rank desc, listed.id desc) as position
        from (
            table worded
            union all
            table named
        ) as listed
    ),

    near as (
        select
            'memories' as table_name,
            memory.id,
            row_number() over (order by memory.distance, memory.id desc) as position
        from app.find_near_memories(
            search.tenant_id, search.user_id, search.embedding, search.embedding_model, _maximum
        ) as memory
        where _mode = 'hybrid' and 'memories' = any(_types)
    ),

    listed as (
        select
            matched.table_name,
            matched.id,
            case _mode when 'hybrid' then (1.0 / (60 + matched.position))::real else matched.rank end as rank
        from matched
        union all
        select
            near.table_name,
            near.id,
            (1.0 / (60 + near.position))::real
        from near
    ),

    page as materialized (
        select
            listed.table_name,
            listed.id,
            sum(listed.rank) as rank
        from listed
        group by listed.table_name, listed.id
        order by sum(listed.rank) desc, listed.id desc
        limit _limit
    )

    select
        coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'type', app.resource_name(page.table_name),
                    'id', page.id,
                    'title', resource.title,
                    'rank', page.rank,
                    'created_at', resource.created_at
                ) || app.search_excerpt(resource.body, _query)
                order by page.rank desc, page.id desc
            ),
            '[]'
        )
    into _data
    from page
    cross join lateral (
        select
            null as title,
            memory.content as body,
            memory.created_at
        from app.memories as memory
        where
            page.table_name = 'memories'
            and memory.tenant_id = search.tenant_id
            and memory.user_id = search.user_id
            and memory.id = page.id
        union all
        select
            null,
            message.content,
            message.created_at
        from app.messages as message
        where
            page.table_name = 'messages'
            and message.tenant_id = search.tenant_id
            and message.user_id = search.user_id
            and message.id = page.id
        union all
        select
            task.title,
            concat_ws(e'\n', task.title, task.description),
            task.created_at
        from app.tasks as task
        where
            page.table_name = 'tasks'
            and task.tenant_id = search.tenant_id
            and task.user_id = search.user_id
            and task.id = page.id
        union all
        select
            app.card_title(card.content),
            coalesce(app.card_text(card.content), ''),
            card.created_at
        from app.cards as card
        where
            page.table_name = 'cards'
            and card.tenant_id = search.tenant_id
            and card.card_id = page.id
            and card.is_active
    ) as resource;

    return app.success(
        200,
        _data,
        jsonb_build_object('mode', _mode, 'types', _types, 'limit', _limit, 'count', jsonb_array_length(_data))
    );
end;
$$;

comment on function api.search(uuid, uuid, text, text[], integer, text, real[], text) is
$$Searches memories, messages, tasks and cards.

Finds the caller's own memories, messages and tasks, and the tenant's cards, the best matches first. q is words, which
all have to be found in whatever form, "phrases", or between two of them, and -words that must not be found; where words
find little, titles and names that look like q follow. types narrows the search: memories, messages, tasks, cards. limit
is 1 to 100, else 20. In each match, snippet is plain text and highlight is the same as HTML, with the words found in
mark elements and everything else escaped. Ranks are comparable within one response. mode hybrid also finds memories
that are near in meaning; it needs pgvector in the database, and embeddings.

PT401: the caller is not a user. PT422: q, types, limit or mode is not valid. PT501: there is no hybrid search here.$$;
alter function api.search(uuid, uuid, text, text[], integer, text, real[], text) owner to cardbase_api;
revoke all on function api.search(uuid, uuid, text, text[], integer, text, real[], text) from public;
grant execute on function api.search(uuid, uuid, text, text[], integer, text, real[], text)
to cardbase_gateway, cardbase_service;
