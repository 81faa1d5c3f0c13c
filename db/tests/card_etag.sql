begin;
\ir helpers/tests.psql
select plan(4);

set local role cardbase_api;
select is(app.card_etag(3, 17), '"3-17"', 'an ETag holds version and usage, in double quotes');
select is(app.card_etag(1, null), '"1-0"', 'a card that was never used has been used 0 times, in its ETag too');
select isnt(app.card_etag(2, 1), app.card_etag(1, 1), 'another version is another ETag');
select isnt(app.card_etag(1, 2), app.card_etag(1, 1), 'another use is another ETag');

select * from finish();
rollback;
