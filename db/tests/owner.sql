begin;
\ir helpers/tests.psql

create temporary table tables as
select relname::text as name
from pg_class
where relnamespace = 'app'::regnamespace and relkind in ('r', 'p');
grant select on tables to public;

select plan((select 3 + 2 * count(*)::integer from tables));

-- A row in each table, which the policies of roles that cardbase_owner is a member of show: of the tenant and user
-- that are set, and old enough for maintenance.
insert into app.cards (tenant_id, card_id, card_type, content)
values (tests.tenant('acme'), tests.id(1), 'voice', '{"name": "ours"}');
insert into app.card_search (tenant_id, card_id, version, title, search_vector)
values (tests.tenant('acme'), tests.id(1), 1, 'ours', 'ours');
insert into app.card_search_queue (tenant_id, card_ids) values (tests.tenant('acme'), array[tests.id(1)]);
insert into app.card_usage_totals (tenant_id, card_id, usage_count, last_used_at)
values (tests.tenant('acme'), tests.id(1), 1, '2001-01-01');
insert into app.card_usage (tenant_id, card_id, used_at) values (tests.tenant('acme'), tests.id(1), '2001-01-01');
insert into app.idempotency_store (tenant_id, idempotency_key, fingerprint, status, created_at, expires_at)
values (tests.tenant('acme'), 'key', '\x01', 200, '2001-01-01', '2001-01-02');
insert into app.users (tenant_id, user_id, email)
values (tests.tenant('acme'), tests.person('ann'), 'ann@example.com');
insert into app.user_preferences (tenant_id, user_id) values (tests.tenant('acme'), tests.person('ann'));
insert into app.refresh_tokens (tenant_id, user_id, token_hash, family_id, expires_at)
values (tests.tenant('acme'), tests.person('ann'), sha256('token'), tests.id(1), '2001-01-01');
insert into app.memories (tenant_id, user_id, id, content)
values (tests.tenant('acme'), tests.person('ann'), tests.id(1), 'remember');
insert into app.conversations (tenant_id, user_id, id)
values (tests.tenant('acme'), tests.person('ann'), tests.id(1));
insert into app.messages (tenant_id, user_id, conversation_id, position, role, content)
values (tests.tenant('acme'), tests.person('ann'), tests.id(1), 1, 'user', 'hello');
insert into app.tasks (tenant_id, user_id, title) values (tests.tenant('acme'), tests.person('ann'), 'do');
insert into app.integrations (tenant_id, user_id, provider, encrypted_settings, setting_names)
values (tests.tenant('acme'), tests.person('ann'), 'slack', '\x01', '{}');
insert into app.credentials (email, password_hash, home_tenant_id, user_id)
values ('ann@example.com', '$argon2id$', tests.tenant('acme'), tests.person('ann'));
insert into app.login_attempts (subject, attempts, expires_at) values (sha256('somebody'), 1, '2001-01-01');
insert into app.jobs (tenant_id, user_id, kind, queue, arguments, status, completed_at, maximum_attempts)
values (tests.tenant('acme'), tests.person('ann'), 'test', 'default', '{}', 'completed', '2001-01-01', 1);
insert into app.pending_jobs (tenant_id, id, priority, kind, run_at, is_ready)
values (tests.tenant('acme'), tests.id(1), 0, 'test', '2001-01-01', true);
insert into app.schedules (name, last_run_at) values ('maintenance', '2001-01-01');
insert into app.workers (worker_id, host, expires_at) values (tests.id(1), 'host', 'infinity');
insert into app.events (tenant_id, event_type, resource_id, created_at)
values (tests.tenant('acme'), 'old', tests.id(1), '2001-01-01');
insert into app.event_subscriptions (tenant_id, expires_at) values (tests.tenant('acme'), '2001-01-01');

do $do$
begin
    if to_regclass('app.memory_embeddings') is not null then
        insert into app.memory_embeddings (tenant_id, user_id, memory_id, model, content_hash, embedding)
        values (tests.tenant('acme'), tests.person('ann'), tests.id(1), 'model', '\x01', '[1]');
    end if;
end;
$do$;

create function tests.row_count(table_name text)
returns bigint
language plpgsql
as $$
declare
    _rows bigint;
begin
    execute format('select from app.%I', row_count.table_name);
    get diagnostics _rows = row_count;
    return _rows;
end;
$$;
grant execute on function tests.row_count to public;

select is_empty(
    'select name from tables where tests.row_count(name) = 0', 'every table has a row that could be seen'
);
select tests.set_caller(tests.tenant('acme'), tests.person('ann'));
set local role cardbase_finder;
select isnt_empty('select 1 from app.cards', 'a role that cardbase_owner belongs to sees what its policies show');
set local role cardbase_owner;
select is_empty('select 1 from app.' || tables.name, 'cardbase_owner sees no row of ' || tables.name)
from tables;
select
    is_empty(
        format('update app.%s set tenant_id = tenant_id returning 1', tables.name),
        'cardbase_owner changes no row of ' || tables.name
    )
from tables;
select throws_ok(
    $$ insert into app.workers (worker_id, host, expires_at) values (tests.id(2), 'host', 'infinity') $$,
    '42501',
    null,
    'cardbase_owner adds no row'
);

select * from finish();
rollback;
