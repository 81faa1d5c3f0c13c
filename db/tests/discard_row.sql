begin;
\ir helpers/tests.psql
select plan(3);

create temporary table log (line text);
create trigger discard_row before insert on log for each row execute function app.discard_row();
insert into log (line)
values ('one'), ('two');
select is_empty('select line from log', 'whatever is added to the table is discarded');
select trigger_is('queue', 'pgqueuer_log', 'discard_row', 'app', 'discard_row', 'the queue''s log is such a table');
set local role cardbase_gateway;
select throws_ok('select app.discard_row()', '42501', null, 'nobody calls it');

select * from finish();
rollback;
