-- How many jobs the tenant with the most of them has pending: a number, so that maintenance need not see whose it is.
-- Returns 0 when no job is pending.
create or replace function app.most_pending_jobs()
returns bigint
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(max(tenant.jobs), 0)
    from (
        select count(*) as jobs
        from app.pending_jobs as pending
        group by pending.tenant_id
    ) as tenant
$$;

comment on function app.most_pending_jobs() is
$$How many jobs the tenant with the most of them has pending.$$;
alter function app.most_pending_jobs() owner to cardbase_dispatcher;
revoke all on function app.most_pending_jobs() from public;
grant execute on function app.most_pending_jobs() to cardbase_maintenance;
