-- The name by which an announcement (NOTIFY) speaks of something: a keyed hash, as whoever logs in may listen.
--   name   what it is about, such as users:<tenant_id>:<user_id>
-- Gateways hash what they listen for in the same way (gateway/stores/cache.py, gateway/events/endpoint.py).
create or replace function app.announcement_key(name text)
returns text
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select encode(sha256(kept.secret || convert_to(announcement_key.name, 'UTF8')), 'hex')
    from app.announcement_secret as kept
$$;

comment on function app.announcement_key(text) is
$$The name by which an announcement speaks of something: a hash that only gateways can compute.$$;
alter function app.announcement_key(text) owner to cardbase_authenticator;
revoke all on function app.announcement_key(text) from public;
grant execute on function app.announcement_key(text) to cardbase_api, cardbase_dispatcher;
