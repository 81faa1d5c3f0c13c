begin;
\ir helpers/tests.psql
select plan(10);

set local role cardbase_api;
select lives_ok($$ select app.check_event_position('after', '1-2-3') $$, 'a position is allowed');
select lives_ok(
    $$ select app.check_event_position('after', '2147483647-9223372036854775807-999999999999999999') $$,
    'so are the greatest numbers'
);
select lives_ok($$ select app.check_event_position('after', null) $$, 'so is none');
select
    throws_ok(
        format('select app.check_event_position(%L, %L)', 'after', refused.given),
        'PT422',
        'after is not valid',
        format('refused: %s', refused.rule)
    )
from (
    values
    ('', 'nothing'),
    ('1-2', 'two numbers'),
    ('1-2-3-4', 'four'),
    ('1-2-x', 'a letter'),
    ('1--2-3', 'a negative number'),
    ('1-2-3' || e'\n', 'a line end')
) as refused (given, rule);
select is(
    tests.refusal($$ select app.check_event_position('last_event_id', '1-2-1234567890123456789') $$) ->> 'column',
    'last_event_id',
    'the refusal of a number that may not fit names the field'
);

select * from finish();
rollback;
