begin;
\ir helpers/tests.psql
select plan(3);

insert into deployment.settings (name, value) values ('speed', '{"limit": 5}');
set local role cardbase_api;
select is(app.setting('speed', '1'), '{"limit": 5}'::jsonb, 'a setting is what was written');
select is(app.setting('colour', '"red"'), '"red"'::jsonb, 'where nothing was, it has its default');
set local role cardbase_gateway;
select throws_ok(
    $$ select app.setting('speed', '1') $$, '42501', null, 'the gateway reads no setting of the database'
);
reset role;

select * from finish();
rollback;
