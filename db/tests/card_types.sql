begin;
select plan(4);

select is(
    app.card_types(),
    array['company', 'audience', 'voice', 'insight'],
    'the card types are company, audience, voice and insight'
);
select volatility_is('app', 'card_types', '{}'::name[], 'immutable', 'the list is fit for a check constraint');

select lives_ok(
    $$
    insert into app.cards (tenant_id, card_type, content)
    select 'aaaaaaaa-0000-0000-0000-000000000000', card_type, '{}'
    from unnest(app.card_types()) as card_type
    $$,
    'the table takes every type of the list'
);
select throws_ok(
    $$
    insert into app.cards (tenant_id, card_type, content)
    values ('aaaaaaaa-0000-0000-0000-000000000000', 'Company', '{}')
    $$,
    '23514',
    null,
    'the table refuses a type that is not in the list, were it only for a capital letter'
);

select * from finish();
rollback;
