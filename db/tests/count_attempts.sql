begin;
\ir helpers/tests.psql
select plan(15);

create function tests.attempts(subject text)
returns integer
language sql
return (select found.attempts from app.find_attempts(attempts.subject) as found);
grant execute on all functions in schema tests to public;

set local role cardbase_authenticator;
select is(tests.attempts('ann'), 0, 'what was never attempted counts nothing');
select app.count_attempts(array['ann', 'network'], 1);
select app.count_attempts(array['network', 'ben'], 1);
select is(
    array[tests.attempts('ann'), tests.attempts('ben'), tests.attempts('network')],
    array[1, 1, 2],
    'an attempt counts for each of its subjects'
);
select ok(
    (select found.seconds between 890 and 900 from app.find_attempts('ann') as found),
    'the window is as long as the limits say'
);
select app.count_attempts(array['ann', 'eve'], 0);
select is(
    array[tests.attempts('ann'), tests.attempts('eve')], array[1, 0], 'locking what is counted counts nothing'
);

-- The rule
select is(
    app.sign_in_subjects('ANN@example.com', '192.0.2.1'),
    array[
        '["account from network", "ann@example.com", "192.0.2.1"]',
        '["account", "ann@example.com"]',
        '["network", "192.0.2.1"]'
    ],
    'an attempt counts for the account from the network, the account and the network'
);
reset role;
insert into app.login_attempts (subject, attempts, expires_at)
select
    sha256(convert_to(standing.subject, 'UTF8')),
    standing.attempts,
    now() + interval '1 minute'
from (
    values ('nine', 9), ('ten', 10), ('two', 2), ('three', 3), ('many', 100), ('fewer', 99)
) as standing (subject, attempts);
set local role cardbase_authenticator;
select is(app.sign_in_wait(array['nine', 'fewer', 'fewer']), null, 'an account is free below ten failures');
select ok(app.sign_in_wait(array['ten', 'none', 'none']) between 1 and 60, 'with ten it waits until its window ends');
select is(
    array[
        app.sign_in_wait(array['two', 'many', 'none']),
        app.sign_in_wait(array['two', 'none', 'many']),
        app.sign_in_wait(array['none', 'many', 'many'])
    ],
    array[null, null, null]::integer[],
    'with a hundred failures elsewhere it is free below three'
);
select isnt(app.sign_in_wait(array['three', 'many', 'none']), null, 'with three it waits, if they are the account''s');
select isnt(app.sign_in_wait(array['three', 'none', 'many']), null, 'it waits if they are the network''s, too');

-- Only failures add up
select app.forgive_attempts('ann');
select app.forgive_attempts('nobody');
select is(
    array[tests.attempts('ann'), tests.attempts('network')], array[0, 2], 'only the subject that is named is forgiven'
);
reset role;
select is_empty(
    $$ select 1 from app.login_attempts where subject = sha256('nobody') $$,
    'to forgive what was never counted stores nothing'
);

-- A table of one page, as far as the planner knows
analyze app.login_attempts;
create temporary table scans as
select pg_stat_get_xact_numscans('app.login_attempts'::regclass) as number;
set local role cardbase_authenticator;
select app.sign_in_wait(array['nine', 'ten', 'many']);
reset role;
select
    is(
        pg_stat_get_xact_numscans('app.login_attempts'::regclass),
        scans.number,
        'what is counted is found by its key, wherever in the table it is'
    )
from scans;

-- The window
update app.login_attempts
set expires_at = now() - interval '1 second';
set local role cardbase_authenticator;
select app.count_attempts(array['network'], 1);
select is(tests.attempts('network'), 1, 'after a window the next one begins with its first attempt');

set local role cardbase_api;
select throws_ok(
    $$ select app.forgive_attempts('ann') $$, '42501', null, 'the functions'' own role may not forgive attempts'
);

select * from finish();
rollback;
