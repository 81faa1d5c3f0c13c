-- Adds to one of the totals of user-owned tables.
--   tenant_id, user_id   whose rows were counted
--   table_name           their table
--   group_name           their app.resource_group; empty: the table has none
--   change               how many more there are, or fewer
-- Each transaction changes a slot that no other has locked, or adds one: none waits for another, and there are as many
-- slots as there were concurrent transactions.
create or replace function app.add_to_total(
    tenant_id uuid,
    user_id uuid,
    table_name text,
    group_name text,
    change bigint
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
    with free as materialized (
        select standing.slot
        from app.resource_totals as standing
        where
            standing.tenant_id = add_to_total.tenant_id
            and standing.user_id = add_to_total.user_id
            and standing.table_name = add_to_total.table_name
            and standing.group_name = add_to_total.group_name
        limit 1
        for no key update skip locked
    )

    update app.resource_totals as standing
    set total = standing.total + add_to_total.change
    from free
    where
        standing.tenant_id = add_to_total.tenant_id
        and standing.user_id = add_to_total.user_id
        and standing.table_name = add_to_total.table_name
        and standing.group_name = add_to_total.group_name
        and standing.slot = free.slot;

    if not found then
        insert into app.resource_totals (tenant_id, user_id, table_name, group_name, total)
        values (
            add_to_total.tenant_id,
            add_to_total.user_id,
            add_to_total.table_name,
            add_to_total.group_name,
            add_to_total.change
        );
    end if;
end;
$$;

comment on function app.add_to_total(uuid, uuid, text, text, bigint) is
$$Adds to one of the totals of user-owned tables.$$;
revoke all on function app.add_to_total(uuid, uuid, text, text, bigint) from public;
grant execute on function app.add_to_total(uuid, uuid, text, text, bigint) to cardbase_api;
