begin;
\ir helpers/tests.psql
select plan(3);

select is(app.most_pending_jobs(), 0::bigint, 'no job is pending');
insert into app.pending_jobs (tenant_id, id, priority, kind, run_at, is_ready)
select
    tests.tenant(job.home),
    tests.id(job.number),
    0,
    'test',
    now(),
    true
from (
    values
    ('acme', 1),
    ('globex', 2),
    ('globex', 3)
) as job (home, number);
select is(app.most_pending_jobs(), 2::bigint, 'of the tenants the one with the most pending jobs counts');
set local role cardbase_maintenance;
select throws_ok(
    'select tenant_id from app.pending_jobs', '42501', null, 'maintenance can''t look whose the jobs are'
);

select * from finish();
rollback;
