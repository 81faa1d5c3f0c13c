begin;
\ir helpers/tests.psql
select plan(2);

select is(
    app.measure_of_cards('voice', true, 3),
    '["cards_created_total", {"card_type": "voice", "result": "created"}, 3]'::jsonb,
    'entries that made a card are counted as created'
);
select is(
    app.measure_of_cards('company', false, 1),
    '["cards_created_total", {"card_type": "company", "result": "existing"}, 1]'::jsonb,
    'entries that met a card are counted as existing'
);

select * from finish();
rollback;
