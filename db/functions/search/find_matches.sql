-- The best matches of a search in one table, for the caller to read the rows by, through the policies.
--   tenant_id, user_id   the caller's tenant and user, already applied to the transaction; for others nothing is found
--   table_name           one of app.search_types; in others nothing is found
--   q                    what is searched for, as websearch_to_tsquery reads it
--   maximum              how many at most
-- Answers ids with their rank, the best first. Each table has a function of its own: app.find_<resource>_matches.
create or replace function app.find_matches(
    tenant_id uuid,
    user_id uuid,
    table_name text,
    q text,
    maximum integer
)
returns table (id uuid, rank real)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if find_matches.table_name = 'memories' then
        return query select * from app.find_memory_matches(
            find_matches.tenant_id, find_matches.user_id, find_matches.q, find_matches.maximum
        );
    elsif find_matches.table_name = 'messages' then
        return query select * from app.find_message_matches(
            find_matches.tenant_id, find_matches.user_id, find_matches.q, find_matches.maximum
        );
    elsif find_matches.table_name = 'tasks' then
        return query select * from app.find_task_matches(
            find_matches.tenant_id, find_matches.user_id, find_matches.q, find_matches.maximum
        );
    elsif find_matches.table_name = 'cards' then
        return query select * from app.find_card_matches(
            find_matches.tenant_id, find_matches.user_id, find_matches.q, find_matches.maximum
        );
    end if;
end;
$$;

comment on function app.find_matches(uuid, uuid, text, text, integer) is
$$The ids of the best matches of a search in one table, with their rank.

Only for the tenant and user of the running transaction.$$;
revoke all on function app.find_matches(uuid, uuid, text, text, integer) from public;
grant execute on function app.find_matches(uuid, uuid, text, text, integer) to cardbase_api;
