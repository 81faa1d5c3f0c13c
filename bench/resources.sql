-- Gives a user what an assistant's heavy user has after a year: the settings bench.tenant_id and bench.user_id say who,
-- bench.memories and bench.messages how many; of tasks there is one for each twenty memories, of conversations one for
-- each hundred messages. The first conversations are the longest.
--
-- Words are drawn as people draw them (Zipf's law) from 8,000, the first of which are stop words of English: the one of
-- rank r is about every (9 r)-th. Memories have 8 to 40 words, messages 10 to 80. A row came a minute after the one before.

set maintenance_work_mem = '1GB';
set work_mem = '256MB';
set timezone = 'UTC';
select setseed(0.5);

create temporary table word as
select
    rank,
    coalesce(
        (array['the', 'to', 'and', 'of', 'in', 'with', 'for', 'that'])[rank],
        -- Three syllables of twenty each, the ranks mixed: what is frequent has no syllable in common.
        (
            select string_agg(syllable.parts[1 + rank * 4799 % 8000 / syllable.place % 20], '' order by syllable.place)
            from (
                values
                (1, array['ba', 'co', 'du', 'fe', 'gi', 'ha', 'jo', 'ku', 'le', 'mi', 'na', 'po', 'qua', 're', 'si',
                'ta', 'vo', 'wu', 'ze', 'bri']),
                (20, array['la', 'mo', 'nu', 'pe', 'ri', 'sa', 'to', 'vu', 'we', 'zi', 'bla', 'cro', 'dru', 'fle',
                'gri', 'sta', 'tro', 'clu', 'pre', 'shi']),
                (400, array['den', 'gar', 'kil', 'lom', 'nuk', 'pex', 'rop', 'sut', 'tid', 'vub', 'wen', 'zar', 'bol',
                'cum', 'dak', 'fip', 'gom', 'hul', 'jat', 'kor'])
            ) as syllable (place, parts)
        )
    ) as text
from generate_series(1, 8000) as rank;

-- The texts of so many rows, by their numbers.
create function pg_temp.texts(count integer, minimum integer, maximum integer)
returns table (number integer, text text)
language sql
volatile
begin atomic
    select
        drawn.number,
        string_agg(word.text, ' ' order by drawn.place)
    from (
        select
            number,
            place,
            floor(power(8000, random()))::integer as rank
        from generate_series(1, texts.count) as number
        cross join lateral
            generate_series(1, texts.minimum + number * 7919 % (texts.maximum - texts.minimum + 1)) as place
    ) as drawn
    inner join word on word.rank = drawn.rank
    group by drawn.number;
end;

create temporary table owner as
select
    current_setting('bench.tenant_id')::uuid as tenant_id,
    current_setting('bench.user_id')::uuid as user_id,
    current_setting('bench.memories')::integer as memories,
    current_setting('bench.messages')::integer as messages;

insert into app.memories (tenant_id, user_id, id, content, memory_type, metadata, created_at, updated_at)
select
    made.tenant_id,
    made.user_id,
    made.id,
    made.text,
    (array['general', 'preference', 'fact', 'goal'])[1 + made.number % 4],
    jsonb_build_object('source', (array['chat', 'import', 'form'])[1 + made.number % 3], 'weight', made.number % 10),
    uuid_extract_timestamp(made.id),
    uuid_extract_timestamp(made.id)
from (
    select
        owner.tenant_id,
        owner.user_id,
        texts.number,
        texts.text,
        uuidv7((texts.number - owner.memories) * interval '1 minute') as id
    from owner
    cross join lateral pg_temp.texts(owner.memories, 8, 40) as texts
) as made
order by made.number;

create temporary table said as
select
    owner.tenant_id,
    owner.user_id,
    texts.number,
    texts.text,
    -- A tenth of the conversations has a third of the messages.
    1 + floor(power(random(), 2) * greatest(1, owner.messages / 100))::integer as conversation,
    uuidv7((texts.number - owner.messages) * interval '1 minute') as id
from owner
cross join lateral pg_temp.texts(owner.messages, 10, 80) as texts;

insert into app.conversations (
    tenant_id, user_id, id, title, message_count, last_message_at, created_at, updated_at
)
select
    tenant_id,
    user_id,
    md5('conversation ' || conversation)::uuid,
    'Conversation ' || conversation,
    count(*),
    max(uuid_extract_timestamp(id)),
    min(uuid_extract_timestamp(id)),
    max(uuid_extract_timestamp(id))
from said
group by tenant_id, user_id, conversation;

insert into app.messages (
    tenant_id, user_id, id, conversation_id, position, role, content, created_at, updated_at
)
select
    said.tenant_id,
    said.user_id,
    said.id,
    md5('conversation ' || said.conversation)::uuid,
    row_number() over (partition by said.conversation order by said.number),
    (array['user', 'assistant'])[1 + said.number % 2],
    said.text,
    uuid_extract_timestamp(said.id),
    uuid_extract_timestamp(said.id)
from said
order by said.number;

insert into app.tasks (tenant_id, user_id, id, title, description, status, priority, due_at, created_at, updated_at)
select
    made.tenant_id,
    made.user_id,
    made.id,
    made.title,
    made.description,
    (array['pending', 'in_progress', 'completed', 'completed'])[1 + made.number % 4],
    (array['low', 'medium', 'high', 'urgent'])[1 + made.number % 4],
    uuid_extract_timestamp(made.id) + interval '7 days',
    uuid_extract_timestamp(made.id),
    uuid_extract_timestamp(made.id)
from (
    select
        owner.tenant_id,
        owner.user_id,
        title.number,
        title.text as title,
        description.text as description,
        uuidv7((title.number - owner.memories / 20) * interval '20 minutes') as id
    from owner
    cross join lateral pg_temp.texts(owner.memories / 20, 3, 8) as title
    inner join lateral pg_temp.texts(owner.memories / 20, 8, 30) as description on description.number = title.number
) as made
order by made.number;
