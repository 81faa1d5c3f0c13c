-- A new UUID version 7 (RFC 9562): ordered by time, so that keys of new rows stay together and "newest first" is
-- the order of the key. Native on server 18; before, the same layout in SQL: 48 bits of milliseconds, then the
-- fraction of the millisecond in the 12 bits of rand_a (RFC 9562, section 6.2, method 3), then random bits.
do $do$
begin
    if current_setting('server_version_num')::integer >= 180000 then
        execute $sql$
            create or replace function app.uuid_v7()
            returns uuid
            language sql
            volatile
            parallel safe
            return uuidv7();
        $sql$;
    else
        execute $sql$
            create or replace function app.uuid_v7()
            returns uuid
            language plpgsql
            volatile
            parallel safe
            set search_path = pg_catalog, pg_temp
            as $body$
            declare
                _microseconds constant bigint := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
                _version_and_fraction constant integer := 28672 + (_microseconds % 1000) * 4096 / 1000;
            begin
                return encode(
                    substring(int8send(_microseconds / 1000) from 3)
                    || substring(int4send(_version_and_fraction) from 3)
                    || substring(uuid_send(gen_random_uuid()) from 9),
                    'hex'
                )::uuid;
            end;
            $body$;
        $sql$;
    end if;
end;
$do$;

comment on function app.uuid_v7() is
$$A new UUID version 7, ordered by the time it was made.$$;
revoke all on function app.uuid_v7() from public;
grant execute on function app.uuid_v7() to cardbase_owner, cardbase_api;
