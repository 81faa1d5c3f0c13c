begin;
\ir helpers/tests.psql
select plan(11);

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
    '{"provider": "slack", "setting_names": ["channel", "token"]}'::jsonb,
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
    'sealed_settings',
    'an integration has settings'
);
select is(
    (
        select (body -> 'data') - 'updated_at'
        from api.update_integration(
            tests.tenant('acme'),
            'aaaaaaaa-0000-0000-0000-00000000000a',
            pg_temp.made_id(),
            sealed_settings => '\xfe',
            setting_names => array['key']
        )
    ),
    (select (body -> 'data') - 'updated_at' || '{"setting_names": ["key"]}' from made),
    'settings are replaced as a whole'
);
reset role;
select results_eq(
    $$ select integrations.provider, integrations.sealed_settings from app.integrations $$,
    $$ values ('slack', '\xfe'::bytea) $$,
    'what was sealed is stored as it was'
);
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
select is_empty(
    $$
    select pg_proc.oid::regprocedure
    from pg_proc
    where
        pg_proc.pronamespace in ('api'::regnamespace, 'app'::regnamespace)
        and pg_proc.proname !~ '^(create|update)_integration$'
        and coalesce(pg_get_function_sqlbody(pg_proc.oid), pg_proc.prosrc) ~ 'sealed_settings'
    $$,
    'no function reads the sealed settings'
);

select * from finish();
rollback;
