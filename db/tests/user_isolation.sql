begin;
\ir helpers/tests.psql
select plan(51);

-- Ann and Ben are users of acme; a user of globex has Ann's id: a user is one within a tenant.
create temporary table actor as
select
    tests.tenant(home) as tenant_id,
    tests.person(name) as user_id
from (values ('acme', 'ann'), ('acme', 'ben'), ('globex', 'ann')) as actor (home, name);

insert into app.users (tenant_id, user_id, email)
select
    actor.tenant_id,
    actor.user_id,
    md5(actor.tenant_id::text || actor.user_id) || '@example.com'
from actor;
insert into app.user_preferences (tenant_id, user_id)
select actor.* from actor;
insert into app.refresh_tokens (tenant_id, user_id, token_hash, family_id, expires_at)
select
    actor.tenant_id,
    actor.user_id,
    sha256('token'),
    actor.user_id as family_id,
    'infinity'
from actor;
insert into app.memories (tenant_id, user_id, content)
select
    actor.*,
    'remember'
from actor;
insert into app.conversations (tenant_id, user_id, id)
select
    actor.*,
    actor.user_id
from actor;
insert into app.messages (tenant_id, user_id, conversation_id, position, role, content)
select
    actor.*,
    actor.user_id,
    1,
    'user',
    'hello'
from actor;
insert into app.tasks (tenant_id, user_id, title)
select
    actor.*,
    'do'
from actor;
insert into app.integrations (tenant_id, user_id, provider, encrypted_settings, setting_names)
select
    actor.*,
    'slack',
    '\x01',
    '{}'
from actor;
insert into app.credentials (email, password_hash, home_tenant_id, user_id)
values ('ann@example.com', '$argon2id$', tests.tenant('acme'), tests.person('ann'));
insert into app.login_attempts (subject, attempts, expires_at)
values (sha256('somebody'), 1, 'infinity');

-- What each statement finds, table by table, as whoever asks.
create function tests.reach(command text)
returns table (table_name text, rows bigint)
language plpgsql
as $$
declare
    _table text;
    _rows bigint;
begin
    foreach _table in array array[
        'users', 'user_preferences', 'refresh_tokens', 'memories', 'conversations', 'messages', 'tasks', 'integrations'
    ] loop
        execute format(reach.command, _table);
        get diagnostics _rows = row_count;
        return query select _table, _rows;
    end loop;
end;
$$;
create function tests.reached(command text)
returns bigint[]
language sql
return (select array_agg(reach.rows) from tests.reach(reached.command));
-- The same, of a command that is refused: the tables on which it is.
create function tests.refused(command text)
returns text[]
language plpgsql
as $$
declare
    _table text;
    _refused text[] := '{}';
begin
    foreach _table in array array[
        'users', 'user_preferences', 'refresh_tokens', 'memories', 'conversations', 'messages', 'tasks', 'integrations'
    ] loop
        begin
            execute format(refused.command, _table);
        exception
            when insufficient_privilege then
                _refused := _refused || _table;
        end;
    end loop;
    return _refused;
end;
$$;
grant execute on all functions in schema tests to public;

create temporary table wanted as
select
    array[1, 1, 1, 1, 1, 1, 1, 1]::bigint[] as own,
    array[0, 0, 0, 0, 0, 0, 0, 0]::bigint[] as nothing,
    array[
        'users', 'user_preferences', 'refresh_tokens', 'memories', 'conversations', 'messages', 'tasks', 'integrations'
    ] as all_tables;
grant select on wanted to public;

-- Ann, with the rights of the functions
set local role cardbase_api;
select tests.set_caller(tests.tenant('acme'), tests.person('ann'));
select is(tests.reached('select from app.%I'), (select own from wanted), 'a user sees the own row of each table');
select is(
    tests.reached($$ select from app.%I where user_id <> tests.person('ann') $$),
    (select nothing from wanted),
    'a user sees no row of another user of the tenant'
);
select is(
    tests.reached($$ select from app.%I where tenant_id <> tests.tenant('acme') $$),
    (select nothing from wanted),
    'a user sees no row of the user with the same id of another tenant'
);
select is(
    tests.reached($$ update app.%I set created_at = now() where user_id = tests.person('ben') $$),
    (select nothing from wanted),
    'a user changes no row of another user'
);
select is(
    tests.reached($$ update app.%I set created_at = now() where tenant_id = tests.tenant('globex') $$),
    (select nothing from wanted),
    'a user changes no row of another tenant'
);
select is(
    tests.refused($$ update app.%I set user_id = tests.person('ben') $$),
    (select all_tables from wanted),
    'a user gives no row away to another user'
);
select is(
    tests.refused($$ update app.%I set tenant_id = tests.tenant('globex') $$),
    (select all_tables from wanted),
    'a user takes no row along to another tenant'
);
select is(tests.refused('delete from app.%I'), (select all_tables from wanted), 'no function takes a user''s row away');
select throws_ok(
    $$
    insert into app.memories (tenant_id, user_id, content)
    values (tests.tenant('acme'), tests.person('ben'), 'x')
    $$,
    '42501',
    null,
    'a user adds no row that is another user''s'
);
select throws_ok(
    $$
    insert into app.memories (tenant_id, user_id, content)
    values (tests.tenant('globex'), tests.person('ann'), 'x')
    $$,
    '42501',
    null,
    'a user adds no row to another tenant'
);
select throws_ok('select from app.credentials', '42501', null, 'cardbase_api reads no password hash');
select throws_ok('select from app.login_attempts', '42501', null, 'cardbase_api reads no attempts to sign in');

-- Half a caller, and none
select tests.set_caller(tests.tenant('acme'), null);
select is(tests.reached('select from app.%I'), (select nothing from wanted), 'a tenant without a user sees nothing');
select tests.set_caller(null, tests.person('ann'));
select is(tests.reached('select from app.%I'), (select nothing from wanted), 'a user without a tenant sees nothing');
select tests.set_caller(null, null);
select is(tests.reached('select from app.%I'), (select nothing from wanted), 'nobody sees nothing');
select is(
    tests.reached('update app.%I set created_at = now()'), (select nothing from wanted), 'nobody changes nothing'
);

-- Who logs in
reset role;
select tests.set_caller(tests.tenant('acme'), tests.person('ann'));
set local role cardbase_gateway;
select is(
    tests.refused('select from app.%I'), (select all_tables from wanted), 'the gateway reads no table of users'''
);
set local role cardbase_service;
select is(tests.refused('select from app.%I'), (select all_tables from wanted), 'services read no table of users''');
set local role cardbase_worker;
select is(tests.refused('select from app.%I'), (select all_tables from wanted), 'workers read no table of users''');
set local role cardbase_owner;
select tests.set_caller(null, null);
select is(
    tests.reached('update app.%I set created_at = now()'),
    (select nothing from wanted),
    'the tables'' owner changes nothing in them'
);

-- The authenticator
set local role cardbase_authenticator;
select is(
    tests.refused('select from app.%I'),
    (select all_tables from wanted),
    'the authenticator reads no table of any tenant''s'
);
select is(
    (select count(*) from app.credentials where credentials.email = 'ann@example.com'),
    1::bigint,
    'the authenticator finds credentials before any tenant is known'
);
select throws_ok(
    $$ update app.credentials set password_hash = '$argon2id$stolen' $$,
    '42501',
    null,
    'the authenticator changes no credentials'
);
select throws_ok('delete from app.credentials', '42501', null, 'the authenticator deletes no credentials');
select throws_ok('delete from app.login_attempts', '42501', null, 'the authenticator forgets no attempt');
reset role;

-- The finder
set local role cardbase_finder;
select is(
    (select count(*) from app.users where users.user_id = tests.person('ann')),
    2::bigint,
    'the finder searches the users of all tenants'
);
select throws_ok('select email from app.users', '42501', null, 'the finder reads no email address by itself');
select throws_ok('update app.users set display_name = null', '42501', null, 'the finder changes no user');
select throws_ok('select from app.refresh_tokens', '42501', null, 'the finder reads no refresh tokens');
select throws_ok('select from app.credentials', '42501', null, 'the finder reads no credentials');
reset role;

-- Maintenance
set local role cardbase_maintenance;
select is_empty('select token_hash from app.refresh_tokens', 'maintenance sees no refresh token that is good');
select is_empty('select subject from app.login_attempts', 'maintenance sees no attempts that still count');
select throws_ok('select email from app.credentials', '42501', null, 'maintenance reads no credentials');
reset role;

-- By way of the functions: every one that a user calls, as nobody and as half of somebody
create temporary table user_function as
select
    pg_proc.proname,
    format(
        'select api.%I(%s)',
        pg_proc.proname,
        (
            select
                string_agg(
                    format('%I => null::%s', parameter.name, format_type(parameter.type_id, null)), ', '
                )
            from unnest(pg_proc.proargnames, pg_proc.proargtypes::oid[]) as parameter (name, type_id)
            where parameter.name <> 'tenant_id'
        )
    ) as call_without_user
from pg_proc
where
    pg_proc.pronamespace = 'api'::regnamespace
    and 'user_id' = any(pg_proc.proargnames)
    -- These keep the requests of users and of services apart.
    and pg_proc.proname not in ('claim_request', 'remember_request')
    -- Jobs are a user's own or the tenant's (jobs.sql).
    and pg_proc.proname not in ('enqueue_job', 'enqueue_test_job', 'get_job', 'list_jobs', 'cancel_job');
grant select on user_function to public;
create function tests.refusals(statement_of text)
returns table (proname name, code text)
language plpgsql
as $$
declare
    _function record;
begin
    for _function in select * from user_function loop
        proname := _function.proname;
        code := tests.refusal(replace(_function.call_without_user, '(', '(' || refusals.statement_of)) ->> 'code';
        return next;
    end loop;
end;
$$;
grant execute on all functions in schema tests to public;
select cmp_ok(
    (select count(*) from user_function),
    '>=',
    25::bigint,
    'the functions for users are known by their parameter user_id'
);
set local role cardbase_gateway;
select is_empty(
    $$
    select proname, code
    from tests.refusals('tenant_id => tests.tenant(''acme''), ')
    where code is distinct from 'PT401'
    $$,
    'every function for users refuses a caller who is none'
);
reset role;

-- Ben asks for what is Ann's, by its id
create temporary table theirs as
select
    'memory' as name,
    memories.id
from app.memories
where memories.tenant_id = tests.tenant('acme') and memories.user_id = tests.person('ann')
union all
select
    'task',
    tasks.id
from app.tasks
where tasks.tenant_id = tests.tenant('acme') and tasks.user_id = tests.person('ann')
union all
select
    'integration',
    integrations.id
from app.integrations
where integrations.tenant_id = tests.tenant('acme') and integrations.user_id = tests.person('ann')
union all
select
    'message',
    messages.id
from app.messages
where messages.tenant_id = tests.tenant('acme') and messages.user_id = tests.person('ann')
union all
select
    'conversation',
    tests.person('ann');
create temporary view truth as
select to_jsonb(memories) as content
from app.memories
union all
select to_jsonb(tasks)
from app.tasks
union all
select to_jsonb(integrations)
from app.integrations
union all
select to_jsonb(messages)
from app.messages
union all
select to_jsonb(conversations)
from app.conversations;
create temporary table truth_before as select truth.* from truth;
grant select on theirs to public;

set local role cardbase_service;
select
    is(
        tests.refusal(
            format(
                'select api.%s_%s(%L, %L, %L)',
                tried.verb,
                theirs.name,
                tests.tenant('acme'),
                tests.person('ben'),
                theirs.id
            )
        ) - 'hint' - 'detail',
        jsonb_build_object(
            'code', 'PT404',
            'message', theirs.name || ' not found',
            'column', 'id',
            'constraint', theirs.name || '_not_found'
        ),
        format('another user of the tenant finds no %s to %s', theirs.name, tried.verb)
    )
from theirs
cross join unnest(array['get', 'update', 'delete']) as tried (verb);
reset role;
select bag_eq(
    'select content from truth',
    'select content from truth_before',
    'after everything that was tried all rows are as they were'
);

select * from finish();
rollback;
