-- The card types: the one list that the table's check and the functions share.
create or replace function app.card_types()
returns text[]
language sql
immutable
parallel safe
return array['company', 'audience', 'voice', 'insight'];

comment on function app.card_types() is
$$The card types: company, audience, voice, insight.$$;
revoke all on function app.card_types() from public;
grant execute on function app.card_types() to cardbase_owner, cardbase_api;
