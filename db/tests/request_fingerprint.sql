begin;
select plan(8);

set local role cardbase_api;
select is(
    app.request_fingerprint('create_cards', '[[{"card_type": "voice", "content": {"a": 1, "b": 2}}], null]'),
    app.request_fingerprint('create_cards', '[[{"content": {"b": 2, "a": 1}, "card_type": "voice"}], null]'),
    'equal requests have one fingerprint, however their JSON is written'
);
select is(length(app.request_fingerprint('create_cards', '[]')), 32, 'a fingerprint has 32 bytes');
select isnt(
    app.request_fingerprint('create_cards', '[1]'),
    app.request_fingerprint('create_card', '[1]'),
    'the same arguments of another function are another request'
);
select isnt(
    app.request_fingerprint('create_cards', '[1, null]'),
    app.request_fingerprint('create_cards', '[null, 1]'),
    'the same value as another argument is another request'
);
select isnt(
    app.request_fingerprint('create_cards', '[[1], 2]'),
    app.request_fingerprint('create_cards', '[[1, 2]]'),
    'where one argument ends and the next begins matters'
);
select isnt(
    app.request_fingerprint('create_cards', '[[{"n": 1}, {"n": 2}]]'),
    app.request_fingerprint('create_cards', '[[{"n": 2}, {"n": 1}]]'),
    'the order of a batch matters, for it is that of the answer'
);
select isnt(
    app.request_fingerprint('create_cards', '[null]'),
    app.request_fingerprint('create_cards', '[]'),
    'an argument that is null is not an argument that is missing'
);
select is(
    app.request_fingerprint('create_cards', '[1]'),
    app.content_hash('["create_cards", [1]]'),
    'the fingerprint is the content hash of name and arguments: stored ones outlive a release'
);

select * from finish();
rollback;
