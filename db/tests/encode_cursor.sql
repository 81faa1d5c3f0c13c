begin;
\ir helpers/tests.psql
select plan(5);

set local role cardbase_api;
select is(
    app.encode_cursor('\x00', 'aaaaaaaa-0000-7000-8000-000000000001'),
    'qqqqqgAAcACAAAAAAAAAAelo2vNjTqwG',
    'a cursor of today is read tomorrow: its form does not change unnoticed'
);
select is_empty(
    $$
    select cursor
    from generate_series(1, 500) as n
    cross join lateral app.encode_cursor(sha256(n::text::bytea), gen_random_uuid()) as cursor
    where cursor !~ '^[A-Za-z0-9_-]{32}$'
    $$,
    'a cursor is 32 characters that need no escaping in a URL'
);
select is(
    app.encode_cursor('\x00', 'aaaaaaaa-0000-7000-8000-000000000001'),
    app.encode_cursor('\x00', 'aaaaaaaa-0000-7000-8000-000000000001'),
    'the same place of the same list has the same cursor'
);
select isnt(
    app.encode_cursor('\x00', 'aaaaaaaa-0000-7000-8000-000000000001'),
    app.encode_cursor('\x01', 'aaaaaaaa-0000-7000-8000-000000000001'),
    'the same place of another list has another cursor'
);
select is(app.encode_cursor('\x00', null), null, 'no place has no cursor');

select * from finish();
rollback;
