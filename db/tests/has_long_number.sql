begin;
\ir helpers/tests.psql
select plan(13);

set local role cardbase_api;
select is(app.has_long_number(number::jsonb), is_long, number || coalesce(' ' || place, ''))
from (
    values
    ('1e999', false, '(1,000 digits)'),
    ('1e1000', true, '(1,001 digits)'),
    ('-1e-999', false, '(0, and 999 digits after the point)'),
    ('-1e-1000', true, '(0, and 1,000 digits after the point)'),
    ('0e-999', false, '(zero, written with its digits)'),
    ('0e-1000', true, '(zero, written with one digit more)'),
    ('12.5e-998', false, '(0, and 999 digits, some of them not zero)'),
    ('{"a": [{"b": 1e131071}]}', true, null),
    ('[1, 2, [1e131071]]', true, null),
    ('null', false, null)
) as sent (number, is_long, place);
select is(
    app.has_long_number(format('[%s.%s, -%1$s.%2$s]', repeat('1', 500), repeat('2', 500))::jsonb),
    false,
    'the sign and the point are no digits'
);
select is(
    app.has_long_number(format('{"a": %s.%s}', repeat('1', 500), repeat('2', 501))::jsonb),
    true,
    'both sides of the point count together'
);
select is(
    app.has_long_number(jsonb_build_object(repeat('1', 1001), repeat('2', 1001))),
    false,
    'keys and strings of digits are no numbers'
);

select * from finish();
rollback;
