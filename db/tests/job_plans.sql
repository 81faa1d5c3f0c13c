-- How much is read to take jobs and to record what became of them, however many are pending: so many rows, and no table
-- from one end to the other. Their plans are made once and kept: here as on a worker's first call after a flood.
begin;
\ir helpers/tests.psql
\ir helpers/jobs.psql
select plan(12);

-- What was read in this transaction since the last call of tests.read_since.
create temporary table counters as
select
    0::bigint as whole,
    0::bigint as by_index;
create function tests.read_since()
returns table (whole bigint, by_index bigint)
language plpgsql
security definer
as $$
begin
    return query
    with counted as (
        select
            sum(statistics.seq_scan)::bigint as whole,
            sum(statistics.idx_tup_fetch)::bigint as by_index
        from pg_stat_xact_user_tables as statistics
        where statistics.relid in ('app.jobs'::regclass, 'app.pending_jobs'::regclass)
    ),

    counters_now as (
        update counters
        set
            whole = counted.whole,
            by_index = counted.by_index
        from counted, counters as before
        returning
            counted.whole - before.whole as whole,
            counted.by_index - before.by_index as by_index
    )

    select
        counters_now.whole,
        counters_now.by_index
    from counters_now;
end;
$$;

create function tests.flood(home text, number integer)
returns void
language sql
as $$
    insert into app.jobs (tenant_id, id, kind, queue, arguments, maximum_attempts)
    select tests.tenant(flood.home), gen_random_uuid(), 'test', 'default', '{}', 5
    from generate_series(1, flood.number);
$$;
select
    tests.flood('acme', 100000),
    tests.flood('globex', 1);
insert into app.pending_jobs (tenant_id, id, priority, kind, run_at, is_ready)
select
    job.tenant_id,
    job.id,
    0,
    job.kind,
    now(),
    true
from app.jobs as job;
analyze app.jobs, app.pending_jobs;

create temporary table taken as
select job.*
from app.take_jobs(tests.worker('one'), 50, array['high', 'default', 'low'], array['test'], null, 1000) as job
where false;
select tests.read_since() as before;
insert into taken
select job.*
from app.take_jobs(tests.worker('one'), 50, array['high', 'default', 'low'], array['test'], null, 1000) as job;
create temporary table cost as select * from tests.read_since();
select
    is(
        (select count(*) from taken where tenant_id = tests.tenant('globex')),
        1::bigint,
        'the one job of another tenant is taken with the first call'
    );
select is((select count(*) from taken), 26::bigint, 'with the flood''s share');
select is((select whole from cost), 0::bigint, 'to take jobs reads no whole table');
select cmp_ok((select by_index from cost), '<', 500::bigint, 'and only the rows of those that are taken');

select tests.read_since() as before;
select count(*) as recorded
from
    app.finish_jobs(
        tests.worker('one'),
        (
            select
                jsonb_agg(
                    jsonb_build_object('tenant_id', tenant_id, 'id', id, 'attempt', attempt, 'status', 'completed')
                )
            from taken
        )
    );
delete from cost;
insert into cost select * from tests.read_since();
select is((select whole from cost), 0::bigint, 'to record outcomes reads no whole table');
select cmp_ok((select by_index from cost), '<', 500::bigint, 'and only the rows of those that ended');

select is(
    (select count(*) from app.find_ended_jobs(tests.worker('one'), '[]')), 0::bigint, 'nothing is left to be stopped'
);
delete from cost;
insert into cost select * from tests.read_since();
select is((select whole from cost), 0::bigint, 'to find that out reads no whole table');

-- A worker whose queues have nothing
select is(
    (select count(*) from app.take_jobs(tests.worker('one'), 50, array['high'], array['test'], null, 1000)),
    0::bigint,
    'another queue has nothing'
);
delete from cost;
insert into cost select * from tests.read_since();
select cmp_ok((select whole + by_index from cost), '<', 500::bigint, 'to find that out reads nearly nothing');

-- The limit of what is pending
insert into deployment.settings (name, value)
values ('tenant_pending_jobs', '1000')
on conflict (name) do update set value = excluded.value;
select tests.set_caller(tests.tenant('acme'), tests.person('ann'));
select throws_ok(
    $$ select app.check_pending_jobs(tests.tenant('acme')) $$, 'PT429', null, 'a flood of that size is too much'
);
delete from cost;
insert into cost select * from tests.read_since();
select cmp_ok((select whole + by_index from cost), '<=', 1001::bigint, 'it is counted no further than the limit');

select * from finish();
rollback;
