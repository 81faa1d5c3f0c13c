begin;
\ir helpers/tests.psql
select plan(42);

-- The functions that sign users in: they see password hashes, or prove who somebody is by being called.
create function tests.sign_in_functions()
returns text[]
language sql
immutable
return array[
    'begin_login', 'begin_registration', 'end_session', 'refresh_session', 'register_user', 'start_session'
];
-- The table that is there only where the server has pgvector.
create function tests.embedding_tables()
returns name[]
language sql
stable
return case when to_regclass('app.memory_embeddings') is null then '{}' else array['memory_embeddings'] end;
-- The tables whose rows belong to a user.
create function tests.user_tables()
returns name[]
language sql
stable
return array[
    'users', 'user_preferences', 'refresh_tokens', 'memories', 'conversations', 'messages', 'tasks', 'integrations',
    'resource_totals'
] || tests.embedding_tables();
-- What the policy of cardbase_api says on a table.
create function tests.own_rows(table_name name)
returns text
language sql
stable
return case
    when own_rows.table_name = 'jobs'
        then
            '((tenant_id = app.current_tenant_id())'
            || ' AND COALESCE((user_id = app.current_user_id()), (user_id IS NULL)))'
    when own_rows.table_name = any(tests.user_tables())
        then '((tenant_id = app.current_tenant_id()) AND (user_id = app.current_user_id()))'
    else '(tenant_id = app.current_tenant_id())'
end;

-- Functions of schema api

select is_empty(
    $$
    select
        pg_proc.oid::regprocedure,
        array_agg(acl.grantee::regrole::text order by acl.grantee::regrole::text)
    from pg_proc
    cross join aclexplode(coalesce(pg_proc.proacl, acldefault('f', pg_proc.proowner))) as acl
    where pg_proc.pronamespace = 'api'::regnamespace
    group by pg_proc.oid
    having
        array_agg(acl.grantee::regrole::text order by acl.grantee::regrole::text)
        <> case
            when pg_proc.proname = any(tests.sign_in_functions() || array['announcement_secret'])
                then array['cardbase_api', 'cardbase_gateway']
            else array['cardbase_api', 'cardbase_gateway', 'cardbase_service']
        end
    $$,
    'every function of api is for the gateway and for services, those of sign-in and a secret for the gateway alone'
);
select set_eq(
    $$
    select pg_proc.proname::text
    from pg_proc
    where
        pg_proc.pronamespace = 'api'::regnamespace
        and (pg_proc.proargnames [1] = 'tenant_id' and pg_proc.proargtypes [0] = 'uuid'::regtype) is not true
    $$,
    array[
        'announcement_secret', 'as_csv', 'begin_login', 'begin_registration', 'catalog', 'catalog_version',
        'check_argument', 'get_health', 'start_session'
    ],
    'every function of api takes the tenant first, save for these: they look at no tenant''s rows'
);
select set_eq(
    $$
    select pg_proc.proname::text
    from pg_proc
    where
        pg_proc.pronamespace = 'api'::regnamespace
        and (pg_proc.prorettype <> 'api.reply'::regtype or pg_proc.proretset)
    $$,
    array['announcement_secret', 'as_csv', 'catalog', 'catalog_version', 'check_argument', 'get_health'],
    'every function of api answers one api.reply, save for these, which are no product functions'
);
select is_empty(
    $$
    select pg_proc.proname
    from pg_proc
    where pg_proc.pronamespace in ('api'::regnamespace, 'app'::regnamespace)
    group by pg_proc.pronamespace, pg_proc.proname
    having count(*) > 1
    $$,
    'no two functions of a schema share a name'
);
select is_empty(
    $$
    select pg_class.oid::regclass
    from pg_class
    where pg_class.relnamespace = 'api'::regnamespace and pg_class.relkind <> 'c'
    $$,
    'schema api holds functions and their types, and no table, view or sequence'
);

-- Functions of both schemas: none is like this

select
    is_empty(
        format(
            'select oid::regprocedure from pg_proc as routine where pronamespace = any(%L::regnamespace[]) and (%s)',
            rule.schemas,
            rule.fault
        ),
        rule.title
    )
from (
    values
    (
        '{api}',
        $$ not (prosecdef and proowner = 'cardbase_api'::regrole) $$,
        'every function of api runs as cardbase_api, whoever calls it'
    ),
    (
        '{api}',
        $$
        ((proargnames[1] = 'tenant_id') is not true or proname = any(tests.sign_in_functions()))
        and obj_description(oid, 'pg_proc') !~ '(^|\n)@internal *(\n|$)'
        $$,
        'no function that takes no tenant, and none of sign-in, is offered over /rpc'
    ),
    (
        '{api}',
        $$ pronargs > 0 and (proargnames is null or '' = any(proargnames) or proargmodes is not null) $$,
        'every parameter of a function of api goes in, and has a name'
    ),
    (
        '{api, app}',
        $$ (prosqlbody is null or prosecdef) and ('search_path=pg_catalog, pg_temp' = any(proconfig)) is not true $$,
        'every function pins its search_path, unless it runs as its caller and was parsed when it was made'
    ),
    (
        '{api, app}',
        $$ coalesce(trim(obj_description(oid, 'pg_proc')), '') = '' $$,
        'every function is commented in the catalog'
    ),
    (
        '{api, app}',
        $$
        (
            select lanname
            from pg_language
            where pg_language.oid = routine.prolang
        ) not in ('sql', 'plpgsql')
        $$,
        'every function is written in a trusted language'
    )
) as rule (schemas, fault, title);
select is_empty(
    $$
    select pg_proc.oid::regprocedure
    from pg_proc
    cross join aclexplode(coalesce(pg_proc.proacl, acldefault('f', pg_proc.proowner))) as acl
    where
        pg_proc.pronamespace in ('api'::regnamespace, 'app'::regnamespace)
        and (acl.grantee = 0 or acl.is_grantable)
        and acl.grantee <> pg_proc.proowner
    $$,
    'no function is for everybody, and none may be passed on'
);

-- Functions of schema app

select is_empty(
    $$
    select
        pg_proc.oid::regprocedure,
        pg_proc.proowner::regrole
    from pg_proc
    where
        pg_proc.pronamespace = 'app'::regnamespace
        and pg_proc.proowner <> case
            when not pg_proc.prosecdef then 'cardbase_owner'::regrole
            -- It calls a function of api for a worker.
            when pg_proc.proname = 'enqueue_notifications' then 'cardbase_api'::regrole
            when
                pg_proc.proowner = any(
                    array[
                        'cardbase_finder'::regrole, 'cardbase_authenticator'::regrole, 'cardbase_dispatcher'::regrole
                    ]
                )
                then pg_proc.proowner
            else 'cardbase_maintenance'::regrole
        end
    $$,
    'a private function runs as its caller and is the owner''s, or runs as one of the roles with a narrow job'
);
select set_eq(
    $$
    select
        pg_proc.proname::text,
        login.name
    from pg_proc
    cross join unnest(array['cardbase_gateway', 'cardbase_service', 'cardbase_worker']) as login (name)
    where
        pg_proc.pronamespace = 'app'::regnamespace
        and has_function_privilege(login.name, pg_proc.oid, 'execute')
    $$,
    $$
    values
    ('take_jobs', 'cardbase_worker'),
    ('enqueue_notifications', 'cardbase_worker'),
    ('find_notified_integrations', 'cardbase_worker'),
    ('finish_jobs', 'cardbase_worker'),
    ('find_ended_jobs', 'cardbase_worker'),
    ('recover_jobs', 'cardbase_worker'),
    ('next_job_in', 'cardbase_worker'),
    ('claim_schedule', 'cardbase_worker'),
    ('keep_worker', 'cardbase_worker'),
    ('purge_jobs', 'cardbase_worker'),
    ('remove_worker', 'cardbase_worker'),
    ('find_unembedded_memories', 'cardbase_worker'),
    ('get_encrypted_settings', 'cardbase_worker'),
    ('record_sync', 'cardbase_worker'),
    ('store_embeddings', 'cardbase_worker'),
    ('measure_database', 'cardbase_worker'),
    ('purge_card_usage', 'cardbase_worker'),
    ('purge_idempotency_store', 'cardbase_worker'),
    ('purge_sign_in', 'cardbase_worker'),
    ('purge_events', 'cardbase_worker'),
    ('run_maintenance', 'cardbase_worker')
    $$,
    'of the private functions the roles that log in may call these'
);
select is_empty(
    $$
    select
        pg_proc.oid::regprocedure,
        acl.grantee::regrole
    from pg_proc
    cross join aclexplode(coalesce(pg_proc.proacl, acldefault('f', pg_proc.proowner))) as acl
    where
        pg_proc.pronamespace = 'app'::regnamespace
        and acl.grantee <> pg_proc.proowner
        and acl.grantee <> case
            when pg_proc.proowner in ('cardbase_maintenance'::regrole, 'cardbase_dispatcher'::regrole)
                then 'cardbase_worker'::regrole
            when
                pg_proc.proname in (
                    'count_attempts',
                    'find_attempts',
                    'forgive_attempts',
                    'sign_in_limits',
                    'sign_in_subjects',
                    'sign_in_wait'
                )
                then 'cardbase_authenticator'::regrole
            else 'cardbase_api'::regrole
        end
        and pg_proc.oid <> all(array['app.current_tenant_id()', 'app.current_user_id()']::regprocedure[])
        -- What a search finds cards by, what is said where there are no embeddings, what workers may not pass, what queues are
        -- called, and whether jobs are carried out; what announcements call a tenant, and what taking jobs begins with.
        and (pg_proc.proname, acl.grantee) not in (
            ('card_text', 'cardbase_maintenance'::regrole),
            ('card_title', 'cardbase_maintenance'::regrole),
            ('card_vector', 'cardbase_maintenance'::regrole),
            ('index_cards', 'cardbase_maintenance'::regrole),
            ('index_all_cards', 'cardbase_maintenance'::regrole),
            ('find_queued_tenants', 'cardbase_maintenance'::regrole),
            ('find_task_queue_state', 'cardbase_api'::regrole),
            ('most_pending_jobs', 'cardbase_maintenance'::regrole),
            ('job_queues', 'cardbase_maintenance'::regrole),
            ('job_queues', 'cardbase_dispatcher'::regrole),
            ('promote_jobs', 'cardbase_dispatcher'::regrole),
            ('lost_outcome', 'cardbase_dispatcher'::regrole),
            ('setting', 'cardbase_maintenance'::regrole),
            ('announcement_key', 'cardbase_dispatcher'::regrole),
            ('enqueue_notifications', 'cardbase_worker'::regrole),
            ('has_listeners', 'cardbase_dispatcher'::regrole),
            ('record_job_events', 'cardbase_dispatcher'::regrole),
            ('check_embeddings', 'cardbase_maintenance'::regrole),
            ('check_parameter', 'cardbase_maintenance'::regrole)
        )
    $$,
    'maintenance is for workers, counting attempts for sign-in, every other private function for cardbase_api'
);
select function_privs_are(
    'app', 'current_tenant_id', '{}'::name[], 'cardbase_finder', array['EXECUTE'], 'the finder can tell the tenant'
);
select function_privs_are(
    'app',
    'current_tenant_id',
    '{}'::name[],
    'cardbase_maintenance',
    array['EXECUTE'],
    'maintenance can pass by policies that ask for the tenant'
);

-- Tables: none is like this

select
    is_empty(
        format(
            'select oid::regclass from pg_class as relation '
            'where relnamespace = ''app''::regnamespace and relkind = any(%L) and (%s)',
            rule.kinds,
            rule.fault
        ),
        rule.title
    )
from (
    values
    (
        '{r, p}',
        $$ not (relrowsecurity and relforcerowsecurity) $$,
        'row-level security is enabled and forced on every table'
    ),
    (
        '{r, p, v, m, f, S}',
        $$ relowner <> 'cardbase_owner'::regrole $$,
        'every table is cardbase_owner''s'
    ),
    (
        '{r, p}',
        $$ coalesce(trim(obj_description(oid, 'pg_class')), '') = '' $$,
        'every table is commented in the catalog'
    ),
    (
        '{r, p}',
        $$
        not exists (
            select
            from pg_attribute
            where
                attrelid = relation.oid
                and attname = 'tenant_id'
                and not attisdropped
                and attnotnull
                and atttypid = 'uuid'::regtype
        )
        $$,
        'every table has a tenant_id, a UUID that is never null'
    ),
    (
        '{r, p}',
        $$
        not exists (
            select
            from pg_index
            where indrelid = relation.oid and indisprimary
        )
        $$,
        'every table has a primary key'
    ),
    (
        '{v, m, f}',
        $$
        relkind <> 'v'
        or not coalesce(reloptions && array['security_invoker=true', 'security_invoker=on'], false)
        $$,
        'no view leads past the policies of what it shows'
    )
) as rule (kinds, fault, title);
select tables_are(
    'app',
    array['cards', 'card_usage', 'card_usage_totals', 'idempotency_store', 'credentials', 'login_attempts']
    || array['card_search', 'card_search_queue', 'jobs', 'workers', 'events', 'event_subscriptions']
    || array['pending_jobs', 'dispatch_turn', 'schedules', 'announcement_secret']
    || tests.user_tables(),
    'these are the tables'
);
select set_eq(
    $$
    select pg_attribute.attrelid::regclass::text
    from pg_attribute
    inner join pg_class on pg_class.oid = pg_attribute.attrelid
    where
        pg_class.relnamespace = 'app'::regnamespace
        and pg_class.relkind in ('r', 'p')
        and pg_attribute.attname = 'user_id'
        and not pg_attribute.attisdropped
    $$,
    $$
    select 'app.' || name
    from unnest(tests.user_tables() || array['credentials', 'events', 'jobs']) as name
    $$,
    'a table whose rows are a user''s is held to the policy of such tables'
);
select is_empty(
    $$
    select pg_index.indexrelid::regclass
    from pg_index
    inner join pg_class on pg_class.oid = pg_index.indrelid
    left join pg_attribute
        on pg_attribute.attrelid = pg_index.indrelid and pg_attribute.attnum = pg_index.indkey [0]
    where
        pg_class.relnamespace = 'app'::regnamespace
        and (pg_index.indisunique or pg_index.indisexclusion)
        and pg_attribute.attname is distinct from 'tenant_id'
    $$,
    'the tenant comes first in every primary key and in whatever else is unique'
);
select is_empty(
    $$
    select
        pg_constraint.conrelid::regclass,
        pg_constraint.conname
    from pg_constraint
    inner join pg_attribute as referring
        on referring.attrelid = pg_constraint.conrelid and referring.attnum = pg_constraint.conkey [1]
    inner join pg_attribute as referred
        on referred.attrelid = pg_constraint.confrelid and referred.attnum = pg_constraint.confkey [1]
    where
        pg_constraint.connamespace = 'app'::regnamespace
        and pg_constraint.contype = 'f'
        and (referring.attname <> 'tenant_id' or referred.attname <> 'tenant_id')
    $$,
    'the tenant comes first in every foreign key, so that it refers to a row of the same tenant'
);

-- Policies

select is_empty(
    $$
    select pg_class.oid::regclass
    from pg_class
    where
        pg_class.relnamespace = 'app'::regnamespace
        and pg_class.relkind in ('r', 'p')
        -- What is recorded of others' rows has more readers: db/tests/read_events.sql.
        and pg_class.relname not in ('credentials', 'login_attempts', 'events')
        and pg_class.relname not in ('workers', 'dispatch_turn', 'schedules', 'announcement_secret')
        and (
            select
                array_agg(
                    array[
                        pg_policies.permissive,
                        pg_policies.cmd,
                        pg_policies.qual,
                        pg_policies.with_check
                    ]
                )
            from pg_policies
            where
                pg_policies.schemaname = 'app'
                and pg_policies.tablename = pg_class.relname
                and pg_policies.roles && array['cardbase_api', 'public']::name []
        ) is distinct from array[
            array[
                'PERMISSIVE',
                'ALL',
                tests.own_rows(pg_class.relname),
                tests.own_rows(pg_class.relname)
            ]
        ]
    $$,
    'on every table cardbase_api has one policy: to see and to write the rows of the transaction''s tenant and user'
);
select is_empty(
    $$
    select
        policyname,
        roles
    from pg_policies
    where
        schemaname = 'app'
        and tablename in (
            'credentials', 'login_attempts', 'workers', 'dispatch_turn', 'schedules', 'announcement_secret'
        )
        and roles && array['cardbase_api', 'public']::name []
    $$,
    'to what sign-in begins with, to workers and what they share, and to a secret cardbase_api has no policy'
);
select set_eq(
    $$
    select
        tablename::text,
        roles::text,
        cmd,
        qual,
        with_check
    from pg_policies
    where
        schemaname in ('app', 'api')
        and roles <> array['cardbase_api']::name []
        and policyname <> 'the owner sees no row'
    $$,
    $$
    values
    ('users', '{cardbase_finder}', 'SELECT', 'true', null),
    ('memories', '{cardbase_finder}', 'SELECT', 'true', null),
    ('messages', '{cardbase_finder}', 'SELECT', 'true', null),
    ('tasks', '{cardbase_finder}', 'SELECT', 'true', null),
    (
        'memories',
        '{cardbase_maintenance}',
        'SELECT',
        '((tenant_id = app.current_tenant_id()) AND (deleted_at IS NULL))',
        null
    ),
    (
        'integrations',
        '{cardbase_maintenance}',
        'ALL',
        '((tenant_id = app.current_tenant_id()) AND (user_id = app.current_user_id()) AND (deleted_at IS NULL))',
        null
    ),
    (
        'user_preferences',
        '{cardbase_maintenance}',
        'SELECT',
        '((tenant_id = app.current_tenant_id()) AND (user_id = app.current_user_id()))',
        null
    ),
    ('jobs', '{cardbase_dispatcher}', 'ALL', 'true', 'true'),
    ('jobs', '{cardbase_maintenance}', 'ALL', '(completed_at <= (now() - ''01:00:00''::interval))', null),
    ('workers', '{cardbase_dispatcher}', 'ALL', 'true', 'true'),
    ('pending_jobs', '{cardbase_dispatcher}', 'ALL', 'true', 'true'),
    ('pending_jobs', '{cardbase_maintenance}', 'SELECT', 'true', null),
    ('dispatch_turn', '{cardbase_dispatcher}', 'ALL', 'true', 'true'),
    ('schedules', '{cardbase_dispatcher}', 'ALL', 'true', 'true'),
    ('announcement_secret', '{cardbase_authenticator}', 'SELECT', 'true', null),
    ('events', '{cardbase_dispatcher}', 'INSERT', null, '(tenant_id = app.current_tenant_id())'),
    ('events', '{cardbase_maintenance}', 'ALL', '(created_at <= (now() - ''00:01:00''::interval))', null),
    (
        'event_subscriptions',
        '{cardbase_api,cardbase_dispatcher}',
        'ALL',
        '(tenant_id = app.current_tenant_id())',
        '(tenant_id = app.current_tenant_id())'
    ),
    ('event_subscriptions', '{cardbase_maintenance}', 'ALL', '(tenant_id = app.current_tenant_id())', null),
    ('event_subscriptions', '{cardbase_maintenance}', 'ALL', '(expires_at <= now())', null),
    ('credentials', '{cardbase_authenticator}', 'ALL', 'true', 'true'),
    ('login_attempts', '{cardbase_authenticator}', 'ALL', 'true', 'true'),
    ('login_attempts', '{cardbase_maintenance}', 'ALL', '(expires_at <= now())', null),
    ('refresh_tokens', '{cardbase_maintenance}', 'ALL', '(expires_at <= now())', null),
    ('cards', '{cardbase_finder}', 'SELECT', 'true', null),
    ('cards', '{cardbase_maintenance}', 'SELECT', '(tenant_id = app.current_tenant_id())', null),
    ('card_search', '{cardbase_finder}', 'SELECT', 'true', null),
    ('card_search_queue', '{cardbase_finder}', 'SELECT', 'true', null),
    (
        'card_search',
        '{cardbase_api,cardbase_maintenance}',
        'ALL',
        '(tenant_id = app.current_tenant_id())',
        '(tenant_id = app.current_tenant_id())'
    ),
    (
        'card_search_queue',
        '{cardbase_api,cardbase_maintenance}',
        'ALL',
        '(tenant_id = app.current_tenant_id())',
        '(tenant_id = app.current_tenant_id())'
    ),
    ('card_usage', '{cardbase_maintenance}', 'ALL', '(used_at <= (now() - ''1 day''::interval))', null),
    ('idempotency_store', '{cardbase_maintenance}', 'ALL', '(expires_at <= now())', null)
    union all
    select
        name,
        '{cardbase_maintenance}',
        'ALL',
        '(tenant_id = app.current_tenant_id())',
        '(tenant_id = app.current_tenant_id())'
    from unnest(tests.embedding_tables()) as name
    $$,
    'policies that look across tenants or users are on this list'
);
select set_eq(
    $$
    select
        tablename::text,
        permissive,
        roles::text,
        cmd,
        qual,
        with_check
    from pg_policies
    where policyname = 'the owner sees no row'
    $$,
    $$
    select
        pg_class.relname::text,
        wanted.*
    from pg_class
    cross join (values ('RESTRICTIVE', '{cardbase_owner}', 'ALL', 'false', null)) as wanted
    where pg_class.relnamespace = 'app'::regnamespace and pg_class.relkind in ('r', 'p')
    $$,
    'on every table a policy shuts out the owner, whatever it inherits'
);
select policies_are(
    'app',
    'cards',
    array[
        'a tenant''s cards are its own',
        'the finder searches all cards',
        'maintenance indexes a tenant''s cards',
        'the owner sees no row'
    ],
    'these are the policies of cards'
);
select policies_are(
    'app',
    'card_usage',
    array['a tenant''s usage events are its own', 'maintenance sees what is older than a day', 'the owner sees no row'],
    'these are the policies of card_usage'
);
select policies_are(
    'app',
    'card_usage_totals',
    array['a tenant''s usage totals are its own', 'the owner sees no row'],
    'these are the policies of card_usage_totals'
);
select policies_are(
    'app',
    'idempotency_store',
    array['a tenant''s idempotency keys are its own', 'maintenance sees what has expired', 'the owner sees no row'],
    'these are the policies of idempotency_store'
);
select policy_roles_are(
    'app', 'cards', 'a tenant''s cards are its own', array['cardbase_api'], 'a tenant''s cards are for cardbase_api'
);
select policy_roles_are(
    'app',
    'card_usage',
    'a tenant''s usage events are its own',
    array['cardbase_api'],
    'a tenant''s usage events are for cardbase_api'
);
select policy_roles_are(
    'app',
    'card_usage_totals',
    'a tenant''s usage totals are its own',
    array['cardbase_api'],
    'a tenant''s usage totals are for cardbase_api'
);
select policy_roles_are(
    'app',
    'idempotency_store',
    'a tenant''s idempotency keys are its own',
    array['cardbase_api'],
    'a tenant''s idempotency keys are for cardbase_api'
);

-- Grants on tables

select set_eq(
    $$
    select
        pg_class.relname::text,
        case when acl.grantee = 0 then 'public' else acl.grantee::regrole::text end,
        acl.privilege_type,
        acl.is_grantable
    from pg_class
    cross join aclexplode(pg_class.relacl) as acl
    where
        pg_class.relnamespace in ('app'::regnamespace, 'api'::regnamespace)
        and acl.grantee <> pg_class.relowner
    $$,
    $$
    values
    ('cards', 'cardbase_api', 'SELECT', false),
    ('cards', 'cardbase_api', 'INSERT', false),
    ('cards', 'cardbase_api', 'UPDATE', false),
    ('card_search', 'cardbase_api', 'SELECT', false),
    ('card_search', 'cardbase_api', 'INSERT', false),
    ('card_search', 'cardbase_api', 'UPDATE', false),
    ('card_search', 'cardbase_api', 'DELETE', false),
    ('card_search', 'cardbase_maintenance', 'SELECT', false),
    ('card_search', 'cardbase_maintenance', 'INSERT', false),
    ('card_search', 'cardbase_maintenance', 'UPDATE', false),
    ('card_search', 'cardbase_maintenance', 'DELETE', false),
    ('card_search_queue', 'cardbase_api', 'SELECT', false),
    ('card_search_queue', 'cardbase_api', 'INSERT', false),
    ('card_search_queue', 'cardbase_api', 'DELETE', false),
    ('card_search_queue', 'cardbase_maintenance', 'SELECT', false),
    ('card_search_queue', 'cardbase_maintenance', 'INSERT', false),
    ('card_search_queue', 'cardbase_maintenance', 'DELETE', false),
    ('card_usage', 'cardbase_api', 'SELECT', false),
    ('card_usage', 'cardbase_api', 'INSERT', false),
    ('card_usage', 'cardbase_maintenance', 'DELETE', false),
    ('card_usage_totals', 'cardbase_api', 'SELECT', false),
    ('card_usage_totals', 'cardbase_api', 'INSERT', false),
    ('card_usage_totals', 'cardbase_api', 'UPDATE', false),
    ('idempotency_store', 'cardbase_api', 'SELECT', false),
    ('idempotency_store', 'cardbase_api', 'INSERT', false),
    ('idempotency_store', 'cardbase_api', 'UPDATE', false),
    ('idempotency_store', 'cardbase_maintenance', 'DELETE', false),
    ('jobs', 'cardbase_api', 'SELECT', false),
    ('jobs', 'cardbase_api', 'INSERT', false),
    ('jobs', 'cardbase_api', 'UPDATE', false),
    ('jobs', 'cardbase_dispatcher', 'SELECT', false),
    ('jobs', 'cardbase_maintenance', 'DELETE', false),
    ('pending_jobs', 'cardbase_api', 'INSERT', false),
    ('pending_jobs', 'cardbase_api', 'DELETE', false),
    ('pending_jobs', 'cardbase_dispatcher', 'SELECT', false),
    ('pending_jobs', 'cardbase_dispatcher', 'INSERT', false),
    ('pending_jobs', 'cardbase_dispatcher', 'DELETE', false),
    ('dispatch_turn', 'cardbase_dispatcher', 'SELECT', false),
    ('schedules', 'cardbase_dispatcher', 'SELECT', false),
    ('schedules', 'cardbase_dispatcher', 'INSERT', false),
    ('announcement_secret', 'cardbase_authenticator', 'SELECT', false),
    ('workers', 'cardbase_dispatcher', 'SELECT', false),
    ('workers', 'cardbase_dispatcher', 'INSERT', false),
    ('workers', 'cardbase_dispatcher', 'DELETE', false),
    ('events', 'cardbase_api', 'SELECT', false),
    ('events', 'cardbase_api', 'INSERT', false),
    ('events', 'cardbase_dispatcher', 'INSERT', false),
    ('events', 'cardbase_maintenance', 'DELETE', false),
    ('event_subscriptions', 'cardbase_api', 'SELECT', false),
    ('event_subscriptions', 'cardbase_api', 'INSERT', false),
    ('event_subscriptions', 'cardbase_api', 'UPDATE', false),
    ('event_subscriptions', 'cardbase_maintenance', 'SELECT', false),
    ('event_subscriptions', 'cardbase_maintenance', 'DELETE', false),
    ('credentials', 'cardbase_authenticator', 'SELECT', false),
    ('credentials', 'cardbase_authenticator', 'INSERT', false),
    ('login_attempts', 'cardbase_authenticator', 'SELECT', false),
    ('login_attempts', 'cardbase_authenticator', 'INSERT', false),
    ('login_attempts', 'cardbase_authenticator', 'UPDATE', false),
    ('login_attempts', 'cardbase_maintenance', 'DELETE', false),
    ('refresh_tokens', 'cardbase_maintenance', 'DELETE', false)
    union all
    select
        name,
        'cardbase_api',
        privilege,
        false
    from unnest(tests.user_tables()) as name
    cross join unnest(array['SELECT', 'INSERT', 'UPDATE']) as privilege
    where privilege = 'SELECT' or name <> all(tests.embedding_tables())
    union all
    select
        name,
        'cardbase_maintenance',
        privilege,
        false
    from unnest(tests.embedding_tables()) as name
    cross join unnest(array['SELECT', 'INSERT', 'UPDATE']) as privilege
    $$,
    'who may do what with a whole table is on this list'
);
select set_eq(
    $$
    select
        pg_class.relname::text,
        case when acl.grantee = 0 then 'public' else acl.grantee::regrole::text end,
        acl.privilege_type,
        string_agg(pg_attribute.attname, ', ' order by pg_attribute.attname)
    from pg_class
    inner join pg_attribute on pg_attribute.attrelid = pg_class.oid
    cross join aclexplode(pg_attribute.attacl) as acl
    where pg_class.relnamespace in ('app'::regnamespace, 'api'::regnamespace)
    group by pg_class.relname, acl.grantee, acl.privilege_type
    $$,
    $$
    values
    (
        'cards',
        'cardbase_finder',
        'SELECT',
        'card_id, card_type, content, created_by, is_active, source_session_id, tenant_id'
    ),
    ('cards', 'cardbase_maintenance', 'SELECT', 'card_id, content, is_active, tenant_id, version'),
    ('card_search', 'cardbase_finder', 'SELECT', 'card_id, search_vector, tenant_id, title'),
    ('card_search_queue', 'cardbase_finder', 'SELECT', 'tenant_id'),
    ('memories', 'cardbase_finder', 'SELECT', 'deleted_at, id, search_vector, tenant_id, user_id'),
    ('messages', 'cardbase_finder', 'SELECT', 'deleted_at, id, search_vector, tenant_id, user_id'),
    ('tasks', 'cardbase_finder', 'SELECT', 'deleted_at, id, search_vector, tenant_id, title, user_id'),
    ('memories', 'cardbase_maintenance', 'SELECT', 'content, deleted_at, id, tenant_id, user_id'),
    (
        'integrations',
        'cardbase_maintenance',
        'SELECT',
        'deleted_at, encrypted_settings, id, last_synced_at, setting_names, tenant_id, user_id'
    ),
    ('integrations', 'cardbase_maintenance', 'UPDATE', 'last_synced_at, sync_error'),
    (
        'user_preferences',
        'cardbase_maintenance',
        'SELECT',
        'email_notifications, push_notifications, tenant_id, user_id'
    ),
    (
        'users',
        'cardbase_finder',
        'SELECT',
        'avatar_url, deleted_at, display_name, search_text, tenant_id, user_id'
    ),
    (
        'jobs',
        'cardbase_dispatcher',
        'UPDATE',
        'attempts, completed_at, error, result, started_at, status, worker_id'
    ),
    ('jobs', 'cardbase_maintenance', 'SELECT', 'completed_at, id, tenant_id'),
    ('jobs', 'cardbase_maintenance', 'UPDATE', 'completed_at'),
    ('workers', 'cardbase_dispatcher', 'UPDATE', 'alive_since, expires_at, last_seen_at, queues, slots'),
    ('pending_jobs', 'cardbase_api', 'SELECT', 'id, tenant_id'),
    ('pending_jobs', 'cardbase_dispatcher', 'UPDATE', 'is_ready'),
    ('pending_jobs', 'cardbase_maintenance', 'SELECT', 'priority, run_at'),
    ('dispatch_turn', 'cardbase_dispatcher', 'UPDATE', 'tenant_id'),
    ('schedules', 'cardbase_dispatcher', 'UPDATE', 'last_run_at'),
    ('events', 'cardbase_maintenance', 'SELECT', 'created_at, event_id, tenant_id, transaction_id'),
    ('events', 'cardbase_maintenance', 'UPDATE', 'created_at'),
    ('event_subscriptions', 'cardbase_dispatcher', 'SELECT', 'expires_at, tenant_id'),
    (
        'event_subscriptions',
        'cardbase_maintenance',
        'UPDATE',
        'horizon_event_id, horizon_transaction_id'
    ),
    ('login_attempts', 'cardbase_maintenance', 'SELECT', 'expires_at, subject, tenant_id'),
    ('login_attempts', 'cardbase_maintenance', 'UPDATE', 'expires_at'),
    ('refresh_tokens', 'cardbase_maintenance', 'SELECT', 'expires_at, tenant_id, token_hash, user_id'),
    ('refresh_tokens', 'cardbase_maintenance', 'UPDATE', 'expires_at'),
    ('card_usage', 'cardbase_maintenance', 'SELECT', 'card_id, tenant_id, usage_id, used_at'),
    ('card_usage', 'cardbase_maintenance', 'UPDATE', 'used_at'),
    ('idempotency_store', 'cardbase_maintenance', 'SELECT', 'expires_at, idempotency_key, owner_id, tenant_id'),
    ('idempotency_store', 'cardbase_maintenance', 'UPDATE', 'expires_at')
    $$,
    'who may do what with single columns is on this list'
);
select is_empty(
    $$
    select
        pg_class.oid::regclass,
        login.name
    from pg_class
    cross join unnest(array['cardbase_gateway', 'cardbase_service', 'cardbase_worker']) as login (name)
    where
        pg_class.relnamespace in ('app'::regnamespace, 'api'::regnamespace)
        and pg_class.relkind in ('r', 'p', 'v', 'm', 'f')
        and (
            has_table_privilege(login.name, pg_class.oid, 'select, insert, update, delete')
            or has_table_privilege(login.name, pg_class.oid, 'truncate, references, trigger')
            or has_any_column_privilege(login.name, pg_class.oid, 'select, insert, update, references')
        )
    $$,
    'no role that logs in has a right on a table or a column, be it by way of another role'
);

select * from finish();
rollback;
