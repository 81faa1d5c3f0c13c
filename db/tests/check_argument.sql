begin;
\ir helpers/tests.psql
select plan(4);

set local role cardbase_gateway;
select is(api.check_argument('document', '{"a": [1.50]}')::text, '{"a": [1.50]}', 'an argument is returned as it is');
select is(api.check_argument('document', null), null, 'no argument is returned as none');
select is(
    tests.refusal($$ select api.check_argument('document', '{"a": [1e1000]}') $$) ->> 'column',
    'document.a[0]',
    'a long number is refused, with its place'
);
select is(
    tests.refusal($$ select api.check_argument('document', jsonb_build_object('a', repeat('x', 64000000))) $$)
    ->> 'code',
    'PT413',
    'more than 64,000,000 bytes are refused'
);

select * from finish();
rollback;
