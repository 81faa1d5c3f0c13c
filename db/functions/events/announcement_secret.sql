-- The key of the names in announcements: for the gateway, which compares them with what it listens for.
create or replace function api.announcement_secret()
returns bytea
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return app.read_announcement_secret();
end;
$$;

comment on function api.announcement_secret() is
$$The key of the names in announcements.

@internal
For the gateway alone: it hashes with it what it listens for (app.announcement_key).$$;
alter function api.announcement_secret() owner to cardbase_api;
revoke all on function api.announcement_secret() from public;
grant execute on function api.announcement_secret() to cardbase_gateway;
