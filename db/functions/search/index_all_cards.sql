-- Makes cards findable by search, tenant by tenant, so that their next searches don't have to: see app.index_cards.
--   maximum_cards   how many to process at most, save for the rest of a batch that was stored at once
-- Returns how many it processed; fewer than maximum_cards means that none are left for now.
create or replace function app.index_all_cards(maximum_cards integer default 1000)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    _tenant_id uuid;
    _cards bigint := 0::bigint;
begin
    for _tenant_id in
        select queued.tenant_id
        from app.find_queued_tenants(index_all_cards.maximum_cards) as queued (tenant_id)
        -- In one order, so that two concurrent calls can't deadlock.
        order by queued.tenant_id
    loop
        perform set_config('app.current_tenant_id', _tenant_id::text, true);
        _cards := _cards + app.index_cards(_tenant_id, (index_all_cards.maximum_cards - _cards)::integer);
        exit when _cards >= index_all_cards.maximum_cards;
    end loop;

    perform set_config('app.current_tenant_id', '', true);
    return _cards;
end;
$$;

comment on function app.index_all_cards(integer) is
$$Makes cards findable by search, tenant by tenant.

Returns how many it processed; fewer than maximum_cards means that none are left for now.$$;
revoke all on function app.index_all_cards(integer) from public;
grant execute on function app.index_all_cards(integer) to cardbase_maintenance;
