begin;
\ir helpers/tests.psql
select plan(6);

create function tests.state()
returns text
language sql
return api.task_queue_state();
grant execute on all functions in schema tests to public;

select is(tests.state(), 'disabled', 'without a worker and without jobs there is no task queue');
insert into queue.pgqueuer (entrypoint, priority, status) values ('test', 0, 'queued');
select is(tests.state(), 'disabled', 'a job that was just enqueued says nothing yet');
update queue.pgqueuer
set execute_after = now() - interval '2 minutes';
select is(tests.state(), 'disconnected', 'a job that waits for long misses a worker');

insert into app.workers (worker_id, host, expires_at)
values
('11111111-0000-0000-0000-000000000000', 'here', now() + interval '1 hour'),
('22222222-0000-0000-0000-000000000000', 'there', now() - interval '1 hour');
set local role cardbase_gateway;
select is(tests.state(), 'connected', 'a worker that is alive is enough');
reset role;
delete from app.workers
where expires_at > now();
delete from queue.pgqueuer;
select is(tests.state(), 'disconnected', 'a worker that died is missed');
delete from app.workers;
select is(tests.state(), 'disabled', 'one that ended well is not');

select * from finish();
rollback;
