begin;
select plan(10);

select is(
    encode(app.content_hash('{"a": 1, "b": 2}'), 'hex'),
    'd8497d9d82770a70729261095aa98f7ef5154d7af499f8037b6ca250296785a6',
    'the hash is SHA-256 of the text that PostgreSQL gives the JSON'
);
select is(
    encode(app.content_hash('{"path": "C:\\new\"é😀"}'), 'hex'),
    'b3386797cef5b4dc67cf661fda8d0e275c89418009d9fe4a218555b6e0c2fec6',
    'backslashes, quotes and characters beyond ASCII are hashed as their UTF-8 bytes'
);
select is(length(app.content_hash('{}')), 32, 'the hash has 32 bytes');
select is(
    app.content_hash('{"b": 2, "a": 1}'),
    app.content_hash('{"a": 1, "b": 2}'),
    'the order of keys does not matter'
);
select is(
    app.content_hash(e'\n{"a":1,\t"b" : 2 }'),
    app.content_hash('{"a": 1, "b": 2}'),
    'white space between the parts does not matter'
);
select is(
    app.content_hash('{"a": 3, "b": 2, "a": 1}'),
    app.content_hash('{"a": 1, "b": 2}'),
    'of a key that is there twice the last value counts'
);
select isnt(app.content_hash('{"a": [2, 1]}'), app.content_hash('{"a": [1, 2]}'), 'the order of an array matters');
select isnt(app.content_hash('{"a": "1"}'), app.content_hash('{"a": 1}'), 'a string is not the number it spells');
select isnt(app.content_hash('{"a": " 1"}'), app.content_hash('{"a": "1"}'), 'white space inside a string matters');

insert into app.cards (tenant_id, card_id, card_type, content)
values (
    'aaaaaaaa-0000-0000-0000-000000000000', 'aaaaaaaa-0000-0000-0000-000000000001', 'company', '{"a": 1, "b": 2}'
);
select is(
    (
        select cards.content_hash
        from app.cards
        where
            cards.tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000'
            and cards.card_id = 'aaaaaaaa-0000-0000-0000-000000000001'
    ),
    app.content_hash('{"a": 1, "b": 2}'),
    'the table stores this hash of a card''s content'
);

select * from finish();
rollback;
