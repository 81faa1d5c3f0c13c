begin;
\ir helpers/tests.psql
select plan(3);

set local role cardbase_api;
select throws_ok(
    $$ select app.card_not_found('aaaaaaaa-0000-0000-0000-000000000001') $$,
    'PT404',
    'card not found',
    'a card that the tenant does not have is refused as not found'
);
select is(
    tests.refusal($$ select app.card_not_found('aaaaaaaa-0000-0000-0000-000000000001') $$),
    '{
        "code": "PT404",
        "message": "card not found",
        "detail": "The tenant has no active card aaaaaaaa-0000-0000-0000-000000000001.",
        "hint": "api.list_cards lists the cards there are.",
        "column": "card_id",
        "constraint": "card_not_found"
    }'::jsonb,
    'the refusal names the card asked for and where the others are listed'
);
select is(
    tests.refusal($$ select app.card_not_found(null) $$) ->> 'code',
    'PT404',
    'no card at all is not found either'
);

select * from finish();
rollback;
