-- What looks by its name most like what is searched for, in one table, for the caller to read the rows by, through the
-- policies. What the words of q find is left out: see app.find_matches.
--   tenant_id, user_id   the caller's tenant and user, already applied to the transaction; for others nothing is found
--   table_name           one of app.search_types; in those without names nothing is found
--   q                    what is searched for
--   maximum              how many at most
-- Answers ids with their similarity, from 0.5 to 1, the best first. Each table has a function of its own, which
-- find_resource_matches.sql makes.
create or replace function app.find_names(
    tenant_id uuid,
    user_id uuid,
    table_name text,
    q text,
    maximum integer
)
returns table (id uuid, similarity real)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if find_names.table_name = 'tasks' then
        return query select * from app.find_task_names(
            find_names.tenant_id, find_names.user_id, find_names.q, find_names.maximum
        );
    elsif find_names.table_name = 'cards' then
        return query select * from app.find_card_names(
            find_names.tenant_id, find_names.user_id, find_names.q, find_names.maximum
        );
    end if;
end;
$$;

comment on function app.find_names(uuid, uuid, text, text, integer) is
$$The ids of what looks by its name most like what is searched for, in one table, with the similarity.

Only for the tenant and user of the running transaction.$$;
revoke all on function app.find_names(uuid, uuid, text, text, integer) from public;
grant execute on function app.find_names(uuid, uuid, text, text, integer) to cardbase_api;
