-- What can be searched: the tables, by whose names callers choose what to search. The one list that the functions of
-- search share.
create or replace function app.search_types()
returns text[]
language sql
immutable
parallel safe
return array['memories', 'messages', 'tasks', 'cards'];

comment on function app.search_types() is
$$What can be searched: memories, messages, tasks, cards.$$;
revoke all on function app.search_types() from public;
grant execute on function app.search_types() to cardbase_api;
