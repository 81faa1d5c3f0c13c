begin;
select plan(11);

set local role cardbase_gateway;
select is(api.as_csv(made.rows), made.csv, made.rule)
from (
    values
    ('[]'::json, '', 'no rows are no text at all'),
    ('[{"a": 1, "b": true}, {"a": 2, "b": false}]', E'a,b\n1,true\n2,false', 'a line of names, then one for each row'),
    ('[{"b": 1, "a": 2}]', E'b,a\n1,2', 'columns keep the order that they have'),
    ('{"a": 1}', E'a\n1', 'an object alone is the only row'),
    ('[{"a": null, "b": ""}]', E'a,b\n,""', 'null is nothing, and the empty text is quoted, so that they differ'),
    ('[{"a": "x,y", "b": "say \"yes\""}]', E'a,b\n"x,y","say ""yes"""', 'commas and quotes are quoted'),
    (E'[{"a": "x\\ny", "b\\n": "\\r"}]', E'a,"b\n"\n"x\ny","\r"', 'so are line ends, in names too'),
    ('[{"a": [1, "x"], "b": {"c": 1}}]', E'a,b\n"[1, ""x""]","{""c"": 1}"', 'arrays and objects are JSON text'),
    ('[1, null, "x"]', E'value\n1\n\nx', 'what is no object is a column called value'),
    ('3', E'value\n3', 'also when it is alone'),
    ('null', E'value\n', 'a null alone is a row with nothing in it')
) as made (rows, csv, rule);

select * from finish();
rollback;
