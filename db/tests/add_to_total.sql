begin;
\ir helpers/tests.psql
select plan(8);

create function tests.total(tenant text, name text, group_name text)
returns numeric
language sql
return (
    select sum(resource_totals.total)
    from app.resource_totals
    where
        resource_totals.tenant_id = tests.tenant(total.tenant)
        and resource_totals.user_id = tests.person(total.name)
        and resource_totals.table_name = 'tasks'
        and resource_totals.group_name = total.group_name
);
grant execute on all functions in schema tests to public;

set local role cardbase_api;
select tests.set_caller(tests.tenant('acme'), tests.person('ann'));
select app.add_to_total(tests.tenant('acme'), tests.person('ann'), 'tasks', 'pending', 3);
select is(tests.total('acme', 'ann', 'pending'), 3::numeric, 'the first change begins a total');
select app.add_to_total(tests.tenant('acme'), tests.person('ann'), 'tasks', 'pending', -5);
select is(tests.total('acme', 'ann', 'pending'), -2::numeric, 'the next is added to it, whatever its sign');
select app.add_to_total(tests.tenant('acme'), tests.person('ann'), 'tasks', 'completed', 1);
select is(tests.total('acme', 'ann', 'completed'), 1::numeric, 'each group has a total');
select is(tests.total('acme', 'ann', 'pending'), -2::numeric, 'which leaves the others as they were');
select is(
    (select count(*) from app.resource_totals where group_name = 'pending'),
    1::bigint,
    'a slot that no other transaction has locked is used again'
);
select throws_ok(
    $$ select app.add_to_total(tests.tenant('acme'), tests.person('ben'), 'tasks', 'pending', 1) $$,
    '42501',
    null,
    'another user''s total can''t be changed'
);
select throws_ok(
    $$ select app.add_to_total(tests.tenant('globex'), tests.person('ann'), 'tasks', 'pending', 1) $$,
    '42501',
    null,
    'nor another tenant''s'
);
reset role;
select results_eq(
    $$
    select distinct
        tenant_id,
        user_id
    from app.resource_totals
    where user_id in (tests.person('ann'), tests.person('ben'))
    $$,
    $$ values (tests.tenant('acme'), tests.person('ann')) $$,
    'nobody else has a total'
);

select * from finish();
rollback;
