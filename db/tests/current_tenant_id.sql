begin;
select plan(7);

create function pg_temp.plan_of(statement text)
returns setof text
language plpgsql
as $$
begin
    return query execute 'explain (costs off) ' || plan_of.statement;
end;
$$;

select is(app.current_tenant_id(), null, 'without a setting there is no tenant');

select set_config('app.current_tenant_id', 'aaaaaaaa-0000-0000-0000-000000000000', true);
select is(
    app.current_tenant_id(),
    'aaaaaaaa-0000-0000-0000-000000000000'::uuid,
    'the tenant is read from the setting app.current_tenant_id'
);

select set_config('app.current_tenant_id', '', true);
select is(
    app.current_tenant_id(),
    null,
    'the empty string, which is what an ended transaction leaves behind, is no tenant'
);

select set_config('app.current_tenant_id', 'everyone', true);
select throws_ok(
    'select app.current_tenant_id()',
    '22P02',
    null,
    'a setting that is no UUID is refused and does not pass for no tenant'
);

select set_config('app.current_tenant_id', 'aaaaaaaa-0000-0000-0000-000000000000', true);
select volatility_is('app', 'current_tenant_id', '{}'::name[], 'stable', 'a statement sees one tenant throughout');
select is(
    (select pg_proc.proparallel from pg_proc where pg_proc.oid = 'app.current_tenant_id()'::regprocedure),
    's',
    'queries under a policy may run in parallel'
);

set local role cardbase_api;
select unalike(
    (select string_agg(line, e'\n') from pg_temp.plan_of('select from app.card_usage') as line),
    '%current_tenant_id()%',
    'a policy''s use of the function is inlined: a row costs no function call'
);

select * from finish();
rollback;
