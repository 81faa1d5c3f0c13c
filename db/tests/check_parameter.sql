begin;
\ir helpers/tests.psql
select plan(7);

set local role cardbase_maintenance;
select lives_ok($$ select app.check_parameter('maximum_rows', 1, 100000) $$, 'the least number is allowed');
select lives_ok($$ select app.check_parameter('maximum_rows', 100000, 100000) $$, 'so is the greatest');
select
    throws_ok(
        format('select app.check_parameter(%L, %s, 100000)', 'maximum_rows', refused.value),
        '22023',
        'maximum_rows is out of range',
        refused.rule
    )
from (
    values
    ('0', 'less than 1 is refused'),
    ('-1', 'so is what is negative'),
    ('100001', 'and more than the maximum'),
    ('null', 'and nothing at all')
) as refused (value, rule);
select is(
    tests.refusal($$ select app.check_parameter('retention_hours', 876001, 876000) $$),
    '{
        "code": "22023",
        "message": "retention_hours is out of range",
        "detail": "Expected 1 to 876,000, got 876001.",
        "hint": "Pass a whole number within the range.",
        "column": "",
        "constraint": ""
    }'::jsonb,
    'the refusal names the parameter, its range and what was sent'
);

select * from finish();
rollback;
