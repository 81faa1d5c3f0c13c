begin;
\ir helpers/tests.psql
select plan(8);

insert into app.refresh_tokens (tenant_id, user_id, token_hash, family_id, expires_at)
select
    tests.tenant(tenant),
    'aaaaaaaa-0000-0000-0000-00000000000a',
    sha256(convert_to(expires_at::text, 'UTF8')),
    'aaaaaaaa-0000-0000-0000-00000000000f',
    expires_at
from unnest(array['acme', 'globex']) as tenant
cross join unnest(array['2000-01-01', now(), 'infinity']::timestamptz[]) as expires_at;
insert into app.login_attempts (subject, attempts, expires_at)
select
    sha256(convert_to(expires_at::text, 'UTF8')),
    1,
    expires_at
from unnest(array['2000-01-01', now(), 'infinity']::timestamptz[]) as expires_at;

set local role cardbase_worker;
select throws_ok('select app.purge_sign_in(0)', '22023', null, 'to remove nothing is refused');
select throws_ok('select app.purge_sign_in(100001)', '22023', null, 'to remove too much at a time is refused');
select throws_ok('select app.purge_sign_in(null)', '22023', null, 'to remove an unknown number is refused');
select is(app.purge_sign_in(3), 3::bigint, 'a call removes as many rows as it says, of all tenants');
select is(app.purge_sign_in(2), 2::bigint, 'the next call goes on with the other table');
select is(app.purge_sign_in(), 1::bigint, 'a call removes what is left');
reset role;
select results_eq(
    'select distinct refresh_tokens.expires_at from app.refresh_tokens',
    $$ values ('infinity'::timestamptz) $$,
    'refresh tokens that are good stay'
);
select results_eq(
    'select login_attempts.expires_at from app.login_attempts',
    $$ values ('infinity'::timestamptz) $$,
    'attempts that count stay'
);

select * from finish();
rollback;
