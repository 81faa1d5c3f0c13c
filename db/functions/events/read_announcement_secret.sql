-- The key of the names in announcements, for api.announcement_secret. It runs as the one role that may read it.
create or replace function app.read_announcement_secret()
returns bytea
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select kept.secret
    from app.announcement_secret as kept
$$;

comment on function app.read_announcement_secret() is
$$The key of the names in announcements.$$;
alter function app.read_announcement_secret() owner to cardbase_authenticator;
revoke all on function app.read_announcement_secret() from public;
grant execute on function app.read_announcement_secret() to cardbase_api;
