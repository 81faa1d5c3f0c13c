begin;
\ir helpers/tests.psql
select plan(9);

insert into app.jobs (tenant_id, kind, queue, arguments, maximum_attempts, status, completed_at)
select
    tests.tenant(job.home),
    job.name,
    'default',
    '{}',
    5,
    job.status,
    now() - job.age::interval
from (
    values
    ('acme', 'oldest', 'completed', '30 days'),
    ('globex', 'old', 'failed', '8 days'),
    ('acme', 'new', 'completed', '6 days'),
    ('acme', 'newest', 'completed', '1 minute'),
    ('acme', 'waiting', 'pending', null),
    ('acme', 'running', 'running', null)
) as job (home, name, status, age);

set local role cardbase_worker;
select is(app.purge_jobs(168, 1), 1::bigint, 'no more are removed than were asked for');
reset role;
select is_empty($$ select from app.jobs where kind = 'oldest' $$, 'the oldest goes first');
set local role cardbase_worker;
select is(app.purge_jobs(168), 1::bigint, 'of all tenants those go that ended before the retention');
select is(app.purge_jobs(168), 0::bigint, 'then none are left');
select is(app.purge_jobs(1), 1::bigint, 'an hour is the least');
reset role;
select results_eq(
    'select kind from app.jobs order by kind',
    $$ values ('newest'), ('running'), ('waiting') $$,
    'what ended just now, runs or waits stays'
);
set local role cardbase_worker;
select throws_ok('select app.purge_jobs(0)', '22023', 'retention_hours is out of range', 'no retention is refused');
select throws_ok('select app.purge_jobs(null)', '22023', 'retention_hours is out of range', 'so is none at all');
select throws_ok('select app.purge_jobs(1, 0)', '22023', 'maximum_rows is out of range', 'a step of no row is refused');
reset role;

select * from finish();
rollback;
