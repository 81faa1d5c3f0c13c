-- A setting that the last deploy wrote into the database, for functions that depend on one.
--   name        its name, such as tenant_pending_jobs
--   otherwise   its value where no deploy wrote one
create or replace function app.setting(name text, otherwise jsonb)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select
        coalesce(
            (
                select written.value
                from deployment.settings as written
                where written.name = setting.name
            ),
            setting.otherwise
        )
$$;

comment on function app.setting(text, jsonb) is
$$A setting that the last deploy wrote into the database.$$;
revoke all on function app.setting(text, jsonb) from public;
grant execute on function app.setting(text, jsonb) to cardbase_api, cardbase_maintenance;
