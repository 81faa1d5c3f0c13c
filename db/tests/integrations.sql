begin;
\ir helpers/tests.psql
select plan(28);

set local role cardbase_gateway;
create temporary table made as
select answer.*
from api.create_integration(
    tests.tenant('acme'),
    'aaaaaaaa-0000-0000-0000-00000000000a',
    'slack',
    '\x0123456789abcdef',
    array['channel', 'token']
) as answer;
create function pg_temp.made_id()
returns uuid
language sql
return (select (body -> 'data' ->> 'id')::uuid from made);

select is(
    (select (body -> 'data') - array['id', 'created_at', 'updated_at'] from made),
    '{
        "provider": "slack",
        "setting_names": ["channel", "token"],
        "sync_status": null,
        "sync_error": null,
        "last_synced_at": null
    }'::jsonb,
    'of the settings only the names are answered'
);
select is(
    (
        select body -> 'data'
        from api.get_integration(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', pg_temp.made_id())
    ),
    (select body -> 'data' from made),
    'an integration is got as it was answered'
);
select is(
    (
        select body -> 'data'
        from api.list_integrations(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', provider => 'slack')
    ),
    (select jsonb_build_array(body -> 'data') from made),
    'a provider narrows the list'
);
select is(
    (
        select body -> 'meta' ->> 'total'
        from api.list_integrations(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', provider => 'github')
    ),
    '0',
    'another provider has no integrations'
);
select is(
    tests.refusal(
        $$
        select api.create_integration(
            tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', '', '\x01', array['a']
        )
        $$
    ) ->> 'column',
    'provider',
    'a provider has a name'
);
select is(
    tests.refusal(
        $$
        select api.create_integration(
            tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', 'x', null, array['a']
        )
        $$
    ) ->> 'column',
    'encrypted_settings',
    'an integration has settings'
);
select is(
    (
        select (body -> 'data') - 'updated_at'
        from api.update_integration(
            tests.tenant('acme'),
            'aaaaaaaa-0000-0000-0000-00000000000a',
            pg_temp.made_id(),
            encrypted_settings => '\xfe',
            setting_names => array['key']
        )
    ),
    (select (body -> 'data') - 'updated_at' || '{"setting_names": ["key"]}' from made),
    'settings are replaced as a whole'
);
reset role;
select results_eq(
    $$ select integrations.provider, integrations.encrypted_settings from app.integrations $$,
    $$ values ('slack', '\xfe'::bytea) $$,
    'encrypted settings are stored as they were sent'
);

-- What a worker does with it
create function tests.shown()
returns jsonb
language sql
return (
    select
        jsonb_build_array(
            answer.body -> 'data' ->> 'sync_status',
            answer.body -> 'data' ->> 'sync_error',
            answer.body -> 'data' ->> 'last_synced_at' is not null,
            (answer.body -> 'data' ->> 'updated_at')::timestamptz = integration.updated_at
        )
    from
        app.integrations as integration
    cross join
        api.get_integration(integration.tenant_id, integration.user_id, integration.id) as answer
);
-- Who does not have Ann's integration: another user, another tenant's user with her id, and nobody.
create temporary table stranger as
select *
from (
    values
    (tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000b'::uuid, 'another user'),
    (tests.tenant('globex'), 'aaaaaaaa-0000-0000-0000-00000000000a'::uuid, 'another tenant''s user of the same id'),
    (tests.tenant('acme'), null, 'a tenant without a user'),
    (null, null, 'nobody')
) as stranger (tenant_id, user_id, name);
grant select on made, stranger to public;

set local role cardbase_worker;
select is(
    app.get_encrypted_settings(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', pg_temp.made_id()),
    '\xfe'::bytea,
    'a worker gets the encrypted settings'
);
select
    is(
        array[
            app.get_encrypted_settings(stranger.tenant_id, stranger.user_id, pg_temp.made_id())::text,
            app.record_sync(stranger.tenant_id, stranger.user_id, pg_temp.made_id(), 'lost')::text
        ],
        array[null, 'false'],
        stranger.name || ' has no such integration'
    )
from stranger;
select throws_ok(
    $$ select integrations.encrypted_settings from app.integrations $$,
    '42501',
    null,
    'the table itself is not for a worker'
);
select is(
    app.record_sync(
        tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', pg_temp.made_id(), 'The service answered 500.'
    ),
    true,
    'a failure is recorded'
);
reset role;
select is(
    tests.shown(),
    '["failed", "The service answered 500.", false, true]'::jsonb,
    'a failure is shown with its reason'
);
set local role cardbase_worker;
select is(
    app.record_sync(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', pg_temp.made_id()),
    true,
    'a success is recorded'
);
reset role;
select is(tests.shown(), '["succeeded", null, true, true]'::jsonb, 'a success is shown with its time');
set local role cardbase_worker;
do $$ begin
    perform app.record_sync(
        tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', pg_temp.made_id(), 'The service answered 401.'
    );
end $$;
reset role;
select is(
    tests.shown(),
    '["failed", "The service answered 401.", true, true]'::jsonb,
    'after a failure the time of the last success is shown still'
);
set local role cardbase_worker;
select
    throws_ok(
        format(
            'select app.record_sync(%L, %L, %L, %L)',
            tests.tenant('acme'),
            'aaaaaaaa-0000-0000-0000-00000000000a',
            pg_temp.made_id(),
            refused.error
        ),
        '23514',
        null,
        refused.name
    )
from (
    values
    ('', 'a failure has a reason'),
    (repeat('x', 1001), 'a reason has its bounds')
) as refused (error, name);
reset role;
set local role cardbase_gateway;
select is(
    (
        select status
        from api.delete_integration(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', pg_temp.made_id())
    ),
    204::smallint,
    'an integration is deleted'
);
select throws_ok(
    format(
        $$ select api.get_integration(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', %L) $$,
        pg_temp.made_id()
    ),
    'PT404',
    null,
    'a deleted integration is not found'
);
reset role;
set local role cardbase_worker;
select is(
    array[
        app.get_encrypted_settings(
            tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', pg_temp.made_id()
        )::text,
        app.record_sync(tests.tenant('acme'), 'aaaaaaaa-0000-0000-0000-00000000000a', pg_temp.made_id())::text
    ],
    array[null, 'false'],
    'neither does a worker find it'
);
reset role;

-- Notifications
insert into app.integrations (tenant_id, user_id, id, provider, encrypted_settings, setting_names, deleted_at)
select
    tests.tenant(made.tenant),
    tests.person(made.name),
    tests.id(made.number),
    'webhook',
    '\x00',
    made.setting_names,
    made.deleted_at
from (
    values
    ('acme', 'ann', 1, '{notifications,secret,url}'::text[], null::timestamptz),
    ('acme', 'ann', 2, '{secret,url}', null),
    ('acme', 'ann', 3, '{notifications}', now()),
    ('acme', 'ann', 4, '{notifications}', null),
    ('acme', 'ben', 5, '{notifications}', null),
    ('globex', 'ann', 6, '{notifications}', null)
) as made (tenant, name, number, setting_names, deleted_at);
create function pg_temp.notified(name text)
returns text
language sql
return (
    select string_agg(right(found.id::text, 1) || ':' || array_to_string(found.channels, '+'), ' ' order by found.id)
    from app.find_notified_integrations(tests.tenant('acme'), tests.person(notified.name)) as found
);
select is(pg_temp.notified('ann'), '1:push+email 4:push+email', 'those of the user that have the setting are found');
insert into app.user_preferences (tenant_id, user_id, push_notifications, email_notifications)
values
(tests.tenant('acme'), tests.person('ann'), false, true),
(tests.tenant('acme'), tests.person('ben'), false, false);
select is(pg_temp.notified('ann'), '1:email 4:email', 'on the channels that the user allows');
select is(pg_temp.notified('ben'), null, 'none is found where the user allows no channel');

select is_empty(
    $$
    select pg_proc.oid::regprocedure
    from pg_proc
    where
        pg_proc.pronamespace in ('api'::regnamespace, 'app'::regnamespace)
        and pg_proc.proname !~ '^(create|update)_integration$'
        and coalesce(pg_get_function_sqlbody(pg_proc.oid), pg_proc.prosrc) ~ 'encrypted_settings'
        and pg_proc.proname <> 'get_encrypted_settings'
    $$,
    'but for the worker''s, no function reads the encrypted settings'
);

select * from finish();
rollback;
