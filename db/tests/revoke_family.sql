begin;
\ir helpers/tests.psql
select plan(9);

create function tests.token(number integer)
returns bytea
language sql
immutable
return sha256(convert_to(token.number::text, 'UTF8'));
create function tests.revoked()
returns integer[]
language sql
return array(
    select number
    from generate_series(1, 5) as number
    where
        tests.token(number) in (
            select token_hash
            from app.refresh_tokens
            where revoked_at is not null
        )
    order by number
);
grant execute on all functions in schema tests to public;

set local role cardbase_api;
select tests.set_caller(tests.tenant('acme'), tests.person('ann'));
select app.open_session(tests.token(1), 30);
select app.open_session(tests.token(2), 30);
select tests.set_caller(null, null);
select throws_ok('select app.open_session(tests.token(9), 30)', '42501', null, 'without a user there is no session');
reset role;

select is(
    (select row(tenant_id, user_id) from app.refresh_tokens where token_hash = tests.token(1)),
    row(tests.tenant('acme'), tests.person('ann')),
    'a session belongs to the caller'
);
select ok(
    (
        select expires_at between now() + interval '30 days' and clock_timestamp() + interval '30 days'
        from app.refresh_tokens
        where token_hash = tests.token(1)
    ),
    'its token is valid as many days as requested'
);
select is(
    (select count(distinct family_id) from app.refresh_tokens where token_hash in (tests.token(1), tests.token(2))),
    2::bigint,
    'each session begins a family'
);

-- One family, with a second token; the same family's number at another user and in another tenant.
insert into app.refresh_tokens (tenant_id, user_id, token_hash, family_id, expires_at)
with family as (
    select family_id
    from app.refresh_tokens
    where token_hash = tests.token(1)
)

select
    tests.tenant(member.tenant),
    tests.person(member.name),
    tests.token(member.number),
    family.family_id,
    'infinity'
from (values ('acme', 'ann', 3), ('acme', 'ben', 4), ('globex', 'ann', 5)) as member (tenant, name, number)
cross join family;
create temporary table family as
select family_id
from app.refresh_tokens
where token_hash = tests.token(1);
grant select on family to cardbase_api;

set local role cardbase_api;
select tests.set_caller(tests.tenant('globex'), tests.person('ben'));
select app.revoke_family(family_id)
from family;
reset role;
select is(tests.revoked(), '{}', 'another tenant''s user revokes nothing');

set local role cardbase_api;
select tests.set_caller(tests.tenant('acme'), tests.person('ann'));
select app.revoke_family(family_id)
from family;
reset role;
select is(tests.revoked(), '{1,3}', 'all tokens of the family are revoked, and nobody else''s');
update app.refresh_tokens
set revoked_at = '2001-01-01'
where token_hash = tests.token(3);
set local role cardbase_api;
select lives_ok('select app.revoke_family(family_id) from family', 'a family may be revoked again');
reset role;
select is(
    (select revoked_at from app.refresh_tokens where token_hash = tests.token(3)),
    '2001-01-01'::timestamptz,
    'what was revoked keeps its time'
);
set local role cardbase_service;
select throws_ok('select app.revoke_family(tests.id(1))', '42501', null, 'a service may not revoke families');

select * from finish();
rollback;
