begin;
select plan(2);

update deployment.state set catalog_version = 4711;

set local role cardbase_gateway;
select is(api.catalog_version(), 4711::bigint, 'the version is the one that a deploy has raised last');
select throws_ok(
    'select catalog_version from deployment.state', '42501', null, 'the gateway reads it by the function alone'
);

select * from finish();
rollback;
