begin;
select plan(6);

create temporary table made as
select
    made.position,
    made.uuid,
    made.earliest,
    made.latest
from (
    select
        position,
        clock_timestamp() as earliest,
        app.uuid_v7() as uuid,
        clock_timestamp() as latest,
        -- Some microseconds, and far from a millisecond, which is the least that pg_sleep takes.
        (select count(*) from generate_series(1, 100 + position)) as pause
    from generate_series(1, 200) as position
) as made;

select is_empty(
    $$ select made.uuid from made where substr(made.uuid::text, 15, 1) <> '7' $$,
    'the version is 7'
);
select is_empty(
    $$ select made.uuid from made where substr(made.uuid::text, 20, 1) not in ('8', '9', 'a', 'b') $$,
    'the variant is that of RFC 9562'
);
select is_empty(
    $$
    select made.uuid
    from made
    where
        ('x' || substr(replace(made.uuid::text, '-', ''), 1, 12))::bit(48)::bigint
        not between floor(extract(epoch from made.earliest) * 1000) and floor(extract(epoch from made.latest) * 1000)
    $$,
    'the first 48 bits are the milliseconds at which it was made'
);
select is(
    (select array_agg(made.uuid order by made.uuid) from made),
    (select array_agg(made.uuid order by made.position) from made),
    'the order of UUIDs is that in which they were made, within a millisecond too'
);
select is(
    (select count(distinct uuid) from (select app.uuid_v7() as uuid from generate_series(1, 10000)) as fresh),
    10000::bigint,
    'of 10,000 no two are equal'
);
select volatility_is('app', 'uuid_v7', '{}'::name[], 'volatile', 'each row of a statement gets a UUID of its own');

select * from finish();
rollback;
