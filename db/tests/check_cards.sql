begin;
\ir helpers/tests.psql
select plan(50);

create temporary table batch (rule text primary key, cards jsonb, field text);
insert into batch (rule, cards, field)
values
('a batch that is not sent is refused', null, 'cards'),
('a batch that is JSON null is refused', 'null', 'cards'),
('a batch that is an object is refused', '{"card_type": "voice", "content": {}}', 'cards'),
('an empty batch is refused', '[]', 'cards'),
(
    'a batch of 1,001 is refused',
    (select jsonb_agg('{"card_type": "voice", "content": {}}'::jsonb) from generate_series(1, 1001)),
    'cards'
),
('a card that is a string is refused as a whole', '["voice"]', 'cards[0]'),
('a card that is null is refused as a whole', '[null]', 'cards[0]'),
('a card that is a list is refused as a whole', '[[{"card_type": "voice", "content": {}}]]', 'cards[0]'),
('a card without a type is refused', '[{"content": {}}]', 'cards[0].card_type'),
('a card whose type is null is refused', '[{"card_type": null, "content": {}}]', 'cards[0].card_type'),
('an unknown type is refused', '[{"card_type": "person", "content": {}}]', 'cards[0].card_type'),
('a type in capitals is refused', '[{"card_type": "VOICE", "content": {}}]', 'cards[0].card_type'),
('a type that is no string is refused', '[{"card_type": ["voice"], "content": {}}]', 'cards[0].card_type'),
('a card without content is refused', '[{"card_type": "voice"}]', 'cards[0].content'),
('content that is null is refused', '[{"card_type": "voice", "content": null}]', 'cards[0].content'),
('content that is a list is refused', '[{"card_type": "voice", "content": [{}]}]', 'cards[0].content'),
('content that is a string is refused', '[{"card_type": "voice", "content": "{}"}]', 'cards[0].content'),
(
    'an author that is no string is refused',
    '[{"card_type": "voice", "content": {}, "created_by": 7}]',
    'cards[0].created_by'
),
(
    'an author of 256 characters is refused',
    jsonb_build_array(jsonb_build_object('card_type', 'voice', 'content', '{}'::jsonb, 'created_by', repeat('é', 256))),
    'cards[0].created_by'
),
(
    'a session that is no UUID is refused',
    '[{"card_type": "voice", "content": {}, "source_session_id": "monday"}]',
    'cards[0].source_session_id'
),
(
    'a session that is a UUID and more is refused',
    '[{"card_type": "voice", "content": {}, "source_session_id": "aaaaaaaa-0000-0000-0000-0000000000090"}]',
    'cards[0].source_session_id'
),
(
    'a session that is a number of 32 digits is refused',
    '[{"card_type": "voice", "content": {}, "source_session_id": 11111111111111111111111111111111}]',
    'cards[0].source_session_id'
),
(
    'the first wrong card of a batch is the one named',
    '[{"card_type": "voice", "content": {}}, {"card_type": "voice"}, {"content": {}}, 7]',
    'cards[1].content'
),
(
    'of a card that is wrong in several places the first place is the one named',
    '[{"card_type": "person", "content": 7, "created_by": 7, "source_session_id": 7}]',
    'cards[0].card_type'
);
grant select on batch to cardbase_api;

set local role cardbase_api;
select throws_ok(format('select app.check_cards(%L)', batch.cards), 'PT422', 'the cards are not valid', batch.rule)
from batch
order by batch.field, batch.rule;
select
    is(
        tests.refusal(format('select app.check_cards(%L)', batch.cards)) ->> 'column',
        batch.field,
        'the refusal names the place: ' || batch.rule
    )
from batch
order by batch.field, batch.rule;

select is(
    tests.refusal('select app.check_cards(''[{"card_type": "person", "content": {}}]'')'),
    '{
        "code": "PT422",
        "message": "the cards are not valid",
        "detail": "Expected one of company, audience, voice, insight.",
        "hint": "Send {\"card_type\": …, \"content\": {…}} for each card. Nothing was stored.",
        "column": "cards[0].card_type",
        "constraint": "validation_error"
    }'::jsonb,
    'the refusal says what was expected'
);
select lives_ok(
    format(
        'select app.check_cards(%L)',
        (
            select
                jsonb_agg(
                    jsonb_build_object(
                        'card_type', (app.card_types())[1 + position % 4],
                        'content', '{}'::jsonb,
                        'created_by', case when position % 3 > 0 then repeat('é', 255) end,
                        'source_session_id', (
                            array[
                                'AAAAAAAA-0000-0000-0000-000000000009', 'aaaaaaaa000000000000000000000009'
                            ]
                        )[position % 3],
                        'anything else', position
                    )
                )
            from generate_series(1, 1000) as position
        )
    ),
    '1,000 cards of all types, with and without author and session, pass'
);

select * from finish();
rollback;
