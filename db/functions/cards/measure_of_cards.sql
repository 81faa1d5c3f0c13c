-- How many entries of a batch there were of one kind, for the metric cards_created_total.
--   card_type   their type
--   created     whether they created a card, or found one
--   number      how many entries
create or replace function app.measure_of_cards(card_type text, created boolean, number bigint)
returns jsonb
language sql
immutable
parallel safe
return jsonb_build_array(
    'cards_created_total',
    jsonb_build_object(
        'card_type', measure_of_cards.card_type,
        'result', case when measure_of_cards.created then 'created' else 'existing' end
    ),
    measure_of_cards.number
);

comment on function app.measure_of_cards(text, boolean, bigint) is
$$How many entries of a batch there were of one type and result, for the metric cards_created_total.$$;
revoke all on function app.measure_of_cards(text, boolean, bigint) from public;
grant execute on function app.measure_of_cards(text, boolean, bigint) to cardbase_api;
