begin;
\ir helpers/tests.psql
select plan(13);

select is(
    (select health from api.get_health() as health),
    row(true, 'disabled'::text, null::text),
    'a deployed database is ready, and without a worker and without jobs there is no task queue'
);

-- What api.get_health says of jobs, as the gateway
create function tests.state()
returns text
language sql
return (select health.task_queue from api.get_health() as health);
grant execute on all functions in schema tests to public;

insert into app.pending_jobs (tenant_id, id, priority, kind, run_at, is_ready)
values (tests.tenant('acme'), tests.id(1), 0, 'test', now(), true);
select is(tests.state(), 'disabled', 'a job that was just enqueued says nothing yet');
update app.pending_jobs
set run_at = now() - interval '2 minutes';
select is(tests.state(), 'disconnected', 'a job that is pending for long misses a worker');

insert into app.workers (worker_id, host, expires_at)
values
('11111111-0000-0000-0000-000000000000', 'here', now() + interval '1 hour'),
('22222222-0000-0000-0000-000000000000', 'there', now() - interval '1 hour');
set local role cardbase_gateway;
select is(tests.state(), 'connected', 'a worker that is alive is enough');
select throws_ok(
    'select app.find_task_queue_state()', '42501', null, 'the gateway may not look at the task queue itself'
);
reset role;
delete from app.workers
where expires_at > now();
delete from app.pending_jobs;
select is(tests.state(), 'disconnected', 'a worker that died is missed');
delete from app.workers;
select is(tests.state(), 'disabled', 'one that ended well is not');

-- Each part by itself: locked tables are in tests/observe/test_health.py, as they take a second connection.

revoke select on table app.card_usage from cardbase_api;
select is(
    (select health from api.get_health() as health),
    row(false, 'disabled'::text, 'permission denied for table card_usage'::text),
    'a table that can''t be read makes the database not ready, and says nothing of the task queue'
);
grant select on table app.card_usage to cardbase_api;
select ok((select health.is_ready from api.get_health() as health), 'once it can be read the database is ready');

revoke select on table app.workers from cardbase_dispatcher;
select is(
    (select health from api.get_health() as health),
    row(true, 'disconnected'::text, 'permission denied for table workers'::text),
    'a task queue that can''t be read is disconnected, and the database is ready nevertheless'
);
grant select on table app.workers to cardbase_dispatcher;

alter table app.workers rename to workers_gone;
alter table app.idempotency_store rename to idempotency_store_gone;
select is(
    (select row(health.is_ready, health.task_queue) from api.get_health() as health),
    row(false, 'disconnected'::text),
    'where tables are missing neither is well'
);
select matches(
    (select health.problem from api.get_health() as health),
    '^relation "app.idempotency_store" does not exist; .*app.workers',
    'the problem names both'
);
alter table app.workers_gone rename to workers;
alter table app.idempotency_store_gone rename to idempotency_store;

drop function app.find_task_queue_state();
select is(
    (select health from api.get_health() as health),
    row(true, 'disabled'::text, null::text),
    'a database from before there was a task queue has none'
);

select * from finish();
rollback;
