begin;
select plan(10);

set local role cardbase_api;
select is(app.normal_idempotency_key(sent.key), sent.normal, sent.rule)
from (
    values
    ('order-1', 'order-1', 'a key without quotes stays as it is'),
    ('"order-1"', 'order-1', 'the double quotes around a key are no part of it'),
    ('"say \"yes\""', 'say "yes"', 'an escaped quote inside the quotes is a quote'),
    ('"C:\\temp"', 'C:\temp', 'an escaped backslash inside the quotes is one backslash'),
    ('"a\nb"', 'a\nb', 'a backslash before another character stays'),
    ('C:\\temp', 'C:\\temp', 'without quotes around it nothing is escaped'),
    ('"open', '"open', 'a quote on one side only belongs to the key'),
    ('"', '"', 'a single quote mark is a key, not a pair of quotes'),
    ('""', '', 'quotes around nothing are an empty key'),
    (null, null, 'no key stays no key')
) as sent (key, normal, rule);

select * from finish();
rollback;
