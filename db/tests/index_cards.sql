begin;
\ir helpers/tests.psql
select plan(19);

-- The titles that a tenant's searches know, in order.
create function tests.known(tenant text)
returns text[]
language sql
return (
    select array_agg(searched.title order by searched.title)
    from app.card_search as searched
    where searched.tenant_id = tests.tenant(known.tenant)
);
create function tests.create_cards(tenant text, variadic names text[])
returns api.reply
language sql
return api.create_cards(
    tests.tenant(create_cards.tenant),
    (
        select jsonb_agg(jsonb_build_object('card_type', 'voice', 'content', jsonb_build_object('name', name)))
        from unnest(create_cards.names) as name
    )
);
create function tests.card_id(name text)
returns uuid
language sql
return (
    select card.card_id
    from app.cards as card
    where card.content = jsonb_build_object('name', card_id.name)
);
grant execute on all functions in schema tests to public;

select tests.create_cards('acme', 'one', 'two');
select tests.create_cards('acme', 'two', 'three');
select tests.create_cards('globex', 'other');
select tests.create_cards('acme', 'one', 'two');
select results_eq(
    'select tenant_id, cardinality(card_ids) from app.card_search_queue order by queue_id',
    $$ values (tests.tenant('acme'), 2), (tests.tenant('acme'), 1), (tests.tenant('globex'), 1) $$,
    'a batch waits as one entry, of its new cards; a batch of known ones does not'
);
select is(tests.known('acme'), null, 'creating cards does not index them');

-- As a function of schema api
select set_config('app.current_tenant_id', tests.tenant('acme')::text, true);
set local role cardbase_api;
select is(app.index_cards(tests.tenant('acme'), 1), 1::bigint, 'the newest come first, and so many as it says');
reset role;
select is(tests.known('acme'), array['three'], 'they are known then');
set local role cardbase_api;
select is(app.index_cards(tests.tenant('acme'), 1), 2::bigint, 'but for a batch, which is not divided');
select is(app.index_cards(tests.tenant('acme')), 0::bigint, 'what is done is done');
reset role;
select is(tests.known('acme'), array['one', 'three', 'two'], 'all of the tenant are known');
select is(tests.known('globex'), null, 'and none of another tenant');

-- What changes
select api.update_card(tests.tenant('acme'), tests.card_id('one'), '{"name": "uno"}');
select api.update_card(tests.tenant('acme'), tests.card_id('uno'), '{"name": "un"}');
select api.delete_card(tests.tenant('acme'), tests.card_id('two'));
set local role cardbase_maintenance;
select is(
    app.index_cards(tests.tenant('globex')), 0::bigint, 'another tenant than the transaction''s is not worked for'
);
select is(app.index_all_cards(1), 1::bigint, 'maintenance works off so many as it says');
select is(app.index_all_cards(), 3::bigint, 'of all tenants');
select is(current_setting('app.current_tenant_id'), '', 'and acts for none of them afterwards');
reset role;
select is(tests.known('acme'), array['three', 'un'], 'a changed card is known by its new name, a deleted one no more');
select is(tests.known('globex'), array['other'], 'and another tenant''s by its own');
select is(
    (select version from app.card_search where title = 'un'), 3, 'of which version a text is, is known'
);

-- Somebody else was faster
update app.card_search
set version = 4, title = 'newer'
where title = 'un';
insert into app.card_search_queue (tenant_id, card_ids) values (tests.tenant('acme'), array[tests.card_id('un')]);
select set_config('app.current_tenant_id', tests.tenant('acme')::text, true);
select app.index_cards(tests.tenant('acme'));
select is(tests.known('acme'), array['newer', 'three'], 'an older version does not replace a newer one');

-- A search finds what was stored before it.
select tests.create_cards('acme', 'quince');
select is(
    (
        select jsonb_array_length(body -> 'data')
        from api.search(tests.tenant('acme'), tests.tenant('acme'), 'quince')
    ),
    1,
    'a search finds what was stored just before it'
);
select tests.create_cards('acme', 'medlar');
select set_config('app.current_tenant_id', tests.tenant('acme')::text, true);
set local transaction_read_only = on;
select is(app.index_cards(tests.tenant('acme')), 0::bigint, 'in a read-only transaction nothing is done');
select is(
    (
        select jsonb_array_length(body -> 'data')
        from api.search(tests.tenant('acme'), tests.tenant('acme'), 'quince')
    ),
    1,
    'but searched'
);

select * from finish();
rollback;
