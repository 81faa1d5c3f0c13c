-- Tenants that have cards to be indexed for search: see app.index_all_cards.
--   maximum   how many to return at most
-- It runs as the finder, which sees the queue of all tenants, but only the column tenant_id.
create or replace function app.find_queued_tenants(maximum integer)
returns setof uuid
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
select distinct queue.tenant_id
from app.card_search_queue as queue
limit find_queued_tenants.maximum;
$$;

comment on function app.find_queued_tenants(integer) is
$$Tenants that have cards to be indexed for search.$$;
alter function app.find_queued_tenants(integer) owner to cardbase_finder;
revoke all on function app.find_queued_tenants(integer) from public;
grant execute on function app.find_queued_tenants(integer) to cardbase_maintenance;
