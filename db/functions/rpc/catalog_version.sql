-- The number of the last deploy that changed something, for those who cache what api.catalog() returned.
-- Returns deployment.state.catalog_version.
create or replace function api.catalog_version()
returns bigint
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select state.catalog_version
    from deployment.state
$$;

comment on function api.catalog_version() is
$$The number of the last deploy that changed something.

@internal$$;
alter function api.catalog_version() owner to cardbase_api;
revoke all on function api.catalog_version() from public;
grant execute on function api.catalog_version() to cardbase_gateway, cardbase_service;
