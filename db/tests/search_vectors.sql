begin;
\ir helpers/tests.psql
select plan(27);

-- app.text_vector
select is(
    app.text_vector('Tea time', 'Ann likes teas'),
    '''tea'':1A,5 ''time'':2A ''ann'':3 ''like'':4'::tsvector,
    'words are stems with their places, those of the title before the others and with a weight of their own'
);
select is(app.text_vector(null, 'tea'), '''tea'':1'::tsvector, 'a text needs no title');
select is(app.text_vector('tea', null), '''tea'':1A'::tsvector, 'a title needs no text');
select is(app.text_vector(null, null), ''::tsvector, 'without either there are no words');
select is(
    app.text_vector(null, repeat(' ', 100000) || 'tea'),
    ''::tsvector,
    'what follows the first 100,000 characters does not count'
);

-- app.card_title
select is(app.card_title('{"name": "Acme", "title": "Ltd"}'), 'Acme', 'a card''s name is its string name');
select is(app.card_title('{"name": ["Acme"], "title": "Ltd"}'), 'Ltd', 'or else its string title');
select is(app.card_title('{"name": 1, "title": null, "a": {"name": "x"}}'), null, 'or else it has none');
select is(
    length(app.card_title(jsonb_build_object('name', repeat('x', 600)))),
    500,
    'a name has 500 characters at most'
);

-- app.card_text
select is(
    app.card_text('{"b": "one", "a": ["two", {"three": "four"}], "n": 5, "t": true, "z": null}'),
    e'two\nfour\none',
    'a card''s text is the strings of its content, and neither keys nor what else there is'
);
select is(app.card_text('{"n": 1}'), null, 'a card without strings has no text');
select is(
    length(app.card_text(jsonb_build_object('a', repeat('x', 99999), 'b', 'yy'))),
    100000,
    'a card''s text has 100,000 characters at most'
);

-- app.card_vector
select is(
    app.card_vector('{"name": "Acme", "tags": ["teas"], "n": 1}'),
    '''acm'':1A,2 ''tea'':4'::tsvector,
    'a card''s words are those of its strings, its name''s with a weight of their own'
);
select ok(
    app.card_vector(jsonb_build_object('a', repeat('tea ', 30000), 'b', 'milk')) @@ 'tea'::tsquery,
    'a large card has words, too'
);
select ok(
    not app.card_vector(jsonb_build_object('a', repeat('tea ', 30000), 'b', 'milk')) @@ 'milk'::tsquery,
    'but of a large card only those among the first 100,000 characters'
);

-- Whatever is stored, its words fit into a tsvector: 100,000 characters of those texts that make the most of them.
create temporary table text_at_the_limit as
select
    line.title,
    left(line.body, 100000) as body
from (
    select
        'different words of two characters, of four bytes each' as title,
        string_agg(chr(66560 + i / 200) || chr(66560 + i % 200), ' ') as body
    from generate_series(1, 40000) as i
    union all
    select
        'hyphenated words, found as a whole and by their parts',
        string_agg(
            chr(66560 + i % 200) || chr(66560 + i / 200) || '-' || chr(131072 + i) || chr(131072 + i / 7),
            ' '
        )
    from generate_series(1, 20000) as i
    union all
    select
        'long chains of hyphens',
        string_agg(chr(66560 + i % 200) || chr(66560 + i / 200) || case i % 100 when 0 then ' ' else '-' end, '')
    from generate_series(1, 40000) as i
    union all
    select
        'addresses, found as a whole and by host and path',
        string_agg('a.bc/' || i || repeat(chr(66560 + i % 200), 100), ' ')
    from generate_series(1, 1000) as i
    union all
    select
        'short addresses',
        string_agg('a' || i || '.bc/d', ' ')
    from generate_series(1, 12000) as i
    union all
    select
        'words that are longer than an index takes',
        repeat(repeat(chr(131072), 3000) || ' ', 40)
) as line;
set local client_min_messages = warning;
select
    lives_ok(
        format($$ select app.text_vector(body, body) from text_at_the_limit where title = %L $$, title),
        title || ' fit, as a text'
    )
from text_at_the_limit;
select
    lives_ok(
        format(
            $$
            select app.card_vector(jsonb_build_object('name', body, 'b', body))
            from text_at_the_limit
            where title = %L
            $$,
            title
        ),
        title || ' fit, as a card'
    )
from text_at_the_limit;

select * from finish();
rollback;
