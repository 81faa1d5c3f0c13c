begin;
\ir helpers/tests.psql
select plan(10);

create function tests.excerpt(body text, q text)
returns jsonb
language sql
immutable
return app.search_excerpt(excerpt.body, websearch_to_tsquery('english', excerpt.q));

select is(
    tests.excerpt('Tea, and more teas', 'tea'),
    '{"snippet": "Tea, and more teas", "highlight": "<mark>Tea</mark>, and more <mark>teas</mark>"}'::jsonb,
    'the words found are marked, in whatever form'
);
select is(
    tests.excerpt($$<img onerror="alert('x')"> tea & <b$$, 'tea') ->> 'highlight',
    '&lt;img onerror=&quot;alert(&#39;x&#39;)&quot;&gt; <mark>tea</mark> &amp; &lt;b',
    'what the text has of HTML is escaped'
);
select is(
    tests.excerpt($$<b>tea</b> &amp; <mark>x</mark>$$, 'tea') ->> 'highlight',
    '&lt;b&gt;<mark>tea</mark>&lt;/b&gt; &amp;amp; &lt;mark&gt;x&lt;/mark&gt;',
    'marks of the text''s own are escaped, too'
);
select is(
    tests.excerpt($$<script>alert("tea")</script>$$, 'tea') ->> 'snippet',
    '<script>alert("tea")</script>',
    'the snippet is the text as it is'
);
select is(
    tests.excerpt(e'\x01tea\x02 and \x01milk\x02', 'milk'),
    '{"snippet": "tea and milk", "highlight": "tea and <mark>milk</mark>"}'::jsonb,
    'a text can''t mark words by the characters that we mark them by'
);
select is(
    tests.excerpt(e'\\x01 %s $1 StopSel=" tea', 'tea') ->> 'highlight',
    e'\\x01 %s $1 StopSel=&quot; <mark>tea</mark>',
    'nothing in a text is taken for an option'
);
select is(
    strpos(
        tests.excerpt(repeat('milk ', 500) || 'tea ' || repeat('sugar ', 500), 'tea') ->> 'highlight',
        '<mark>tea</mark>'
    ) > 0,
    true,
    'of a long text the part with the words is shown'
);
select is(
    length(tests.excerpt(repeat('milk ', 500) || 'tea ' || repeat('sugar ', 500), 'tea') ->> 'snippet') < 400,
    true,
    'of a long text only a part is shown'
);
select is(
    tests.excerpt(repeat('milk ', 5000) || 'tea', 'tea') ->> 'highlight' like 'milk milk%',
    true,
    'where the words are beyond what is looked at, the beginning is shown'
);
select is(
    tests.excerpt('', 'tea'), '{"snippet": "", "highlight": ""}'::jsonb, 'of no text nothing is shown'
);

select * from finish();
rollback;
