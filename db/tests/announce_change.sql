begin;
\ir helpers/tests.psql
select plan(6);

select trigger_is('app', 'users', 'users_announced', 'app', 'announce_change', 'changes of users are announced');
select trigger_is(
    'app',
    'user_preferences',
    'user_preferences_announced',
    'app',
    'announce_change',
    'changes of preferences are announced'
);
select set_eq(
    $$
    select
        pg_trigger.tgrelid::regclass::text,
        -- After each row of an insert, an update and a delete.
        pg_trigger.tgtype::integer = 1 | 4 | 8 | 16
    from pg_trigger
    where pg_trigger.tgfoid = 'app.announce_change()'::regprocedure
    $$,
    $$ values ('app.users', true), ('app.user_preferences', true) $$,
    'every change of a row is announced, once, and of no other table'
);

set local role cardbase_gateway;
select lives_ok(
    $$ select api.update_preferences(tests.tenant('acme'), tests.tenant('acme'), 'dark') $$,
    'who changes a row need not be able to announce it'
);
select throws_ok('select app.announce_change()', '42501', null, 'the gateway may not announce what did not happen');
reset role;
select throws_ok('select app.announce_change()', '0A000', null, 'it is nothing but a trigger');

select * from finish();
rollback;
