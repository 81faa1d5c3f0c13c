-- Records what a statement did to jobs, as app.record_events does for user-owned tables: a trigger, whose new rows are
-- called changed, and after an update the old ones previous. An insert is job.created, a new status job.<status>.
-- Workers carry out jobs of many tenants at once, so this goes tenant by tenant, with the tenant set meanwhile: the
-- policies are the same for all writers.
create or replace function app.record_job_events()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    _current constant text := coalesce(current_setting('app.current_tenant_id', true), '');
    _tenant_id uuid;
begin
    for _tenant_id in
        select distinct changed.tenant_id
        from changed
        order by changed.tenant_id
    loop
        perform set_config('app.current_tenant_id', _tenant_id::text, true);

        continue when not app.has_listeners();

        if tg_op = 'INSERT' then
            insert into app.events (tenant_id, user_id, event_type, resource_id, data)
            select
                changed.tenant_id,
                changed.user_id,
                'job.created',
                changed.id,
                jsonb_build_object('kind', changed.kind, 'status', changed.status)
            from changed
            where changed.tenant_id = _tenant_id;
        else
            insert into app.events (tenant_id, user_id, event_type, resource_id, data)
            select
                changed.tenant_id,
                changed.user_id,
                'job.' || changed.status,
                changed.id,
                jsonb_build_object('kind', changed.kind, 'status', changed.status)
            from changed
            inner join previous
                on
                    previous.tenant_id = changed.tenant_id
                    and previous.id = changed.id
            where
                changed.tenant_id = _tenant_id
                and changed.status <> previous.status;
        end if;

        if found then
            perform pg_notify('cardbase_events', app.announcement_key('events:' || _tenant_id));
        end if;
    end loop;

    perform set_config('app.current_tenant_id', _current, true);
    return null;
end;
$$;

comment on function app.record_job_events() is
$$Records what a statement did to jobs, tenant by tenant, for those that somebody listens to.$$;
revoke all on function app.record_job_events() from public;
grant execute on function app.record_job_events() to cardbase_api, cardbase_dispatcher;

create or replace trigger jobs_inserted after insert on app.jobs referencing new table as changed
for each statement execute function app.record_job_events();
create or replace trigger jobs_updated after update on app.jobs referencing new table as changed old table as previous
for each statement execute function app.record_job_events();
