begin;
\ir helpers/tests.psql
select plan(19);

-- Each document has exactly these fields: of its row, nothing private and nothing that only the database needs.

create function tests.fields(document jsonb)
returns text[]
language sql
return array(
    select name
    from jsonb_object_keys(fields.document) as name
    order by name
);

select is(tests.fields(document.value), document.fields, 'the fields of a ' || document.name)
from (
    values
    (
        'conversation',
        app.conversation_document(null),
        '{created_at, id, last_message_at, message_count, metadata, title, updated_at}'::text[]
    ),
    ('event', app.event_document(null), '{created_at, data, resource_id, type}'),
    (
        'integration',
        app.integration_document(null),
        '{created_at, id, last_synced_at, provider, setting_names, sync_error, sync_status, updated_at}'
    ),
    (
        'job',
        app.job_document(null),
        '{attempts, completed_at, created_at, error, id, kind, maximum_attempts, queue, result, started_at, status}'
    ),
    ('memory', app.memory_document(null), '{content, created_at, id, memory_type, metadata, updated_at}'),
    (
        'message',
        app.message_document(null),
        '{content, conversation_id, created_at, id, metadata, position, role, updated_at}'
    ),
    ('task', app.task_document(null), '{created_at, description, due_at, id, priority, status, title, updated_at}'),
    (
        'user',
        app.user_document(null),
        '{avatar_url, created_at, display_name, email, first_name, id, last_name, tenant_id, updated_at}'
    ),
    (
        'preference',
        app.user_preference_document(null),
        '{email_notifications, language, push_notifications, theme}'
    )
) as document (name, value, fields);

-- Each field is that of the row: a row with a value of its own in every column.

create function tests.values_of(table_name text)
returns jsonb
language sql
stable
return (
    select
        jsonb_object_agg(
            pg_attribute.attname,
            case format_type(pg_attribute.atttypid, null)
                when 'uuid' then to_jsonb(tests.id(pg_attribute.attnum))
                when 'timestamp with time zone' then to_jsonb(make_timestamptz(2000, 1, pg_attribute.attnum, 0, 0, 0))
                when 'integer' then to_jsonb(pg_attribute.attnum)
                when 'bigint' then to_jsonb(pg_attribute.attnum)
                when 'boolean' then to_jsonb(true)
                when 'jsonb' then jsonb_build_object('column', pg_attribute.attname)
                when 'text[]' then jsonb_build_array(pg_attribute.attname)
                when 'text' then to_jsonb(pg_attribute.attname)
            end
        )
    from pg_attribute
    where
        pg_attribute.attrelid = format('app.%I', values_of.table_name)::regclass
        and pg_attribute.attnum > 0
        and not pg_attribute.attisdropped
        and format_type(pg_attribute.atttypid, null) in (
            'uuid', 'timestamp with time zone', 'integer', 'bigint', 'boolean', 'jsonb', 'text[]', 'text'
        )
);

select
    is_empty(
        format(
            $sql$
            select
                field.name,
                field.value,
                written.value
            from jsonb_each(
                app.%I(jsonb_populate_record(null::app.%I, tests.values_of(%L)))
            ) as field (name, value)
            left join jsonb_each(tests.values_of(%L)) as written (name, value)
                on written.name = coalesce((%L::jsonb) ->> field.name, field.name)
            where field.name <> all(%L) and to_jsonb(field.value) is distinct from to_jsonb(written.value)
            $sql$,
            document.name || '_document',
            document.table_name,
            document.table_name,
            document.table_name,
            document.renamed,
            document.computed
        ),
        format('each field of a %s is the column of its row', document.name)
    )
from (
    values
    ('conversation', 'conversations', '{}', '{}'),
    ('event', 'events', '{"type": "event_type"}', '{}'),
    ('integration', 'integrations', '{}', '{sync_status}'),
    ('job', 'jobs', '{}', '{}'),
    ('memory', 'memories', '{}', '{}'),
    ('message', 'messages', '{}', '{}'),
    ('task', 'tasks', '{}', '{}'),
    ('user', 'users', '{"id": "user_id"}', '{}'),
    ('user_preference', 'user_preferences', '{}', '{}')
) as document (name, table_name, renamed, computed);

select results_eq(
    $$
    select app.integration_document(integration) ->> 'sync_status'
    from (
        values
        (1, null::timestamptz, null),
        (2, now(), null),
        (3, null, 'refused'),
        (4, now(), 'refused')
    ) as synced (number, at, error)
    cross join jsonb_populate_record(
        null::app.integrations, jsonb_build_object('last_synced_at', synced.at, 'sync_error', synced.error)
    ) as integration
    order by synced.number
    $$,
    $$ values (null), ('succeeded'), ('failed'), ('failed') $$,
    'an integration was never synced, or its last sync succeeded or failed'
);

select * from finish();
rollback;
