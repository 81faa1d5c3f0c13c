-- Functions of every kind that /rpc can call: what somebody might add to a running database.
create schema test;
create table test.notes (
    note_id integer,
    text text,
    constraint notes_key unique (note_id) deferrable initially deferred
);
create sequence test.attempts;
create type api.color as enum ('red', 'green');
create domain api.percent as integer check (value between 0 and 100);
create type api.point as (x integer, y integer);

-- What is given and what is answered

create function api.add(a integer, b integer default 10) returns integer language sql immutable as 'select a + b';
comment on function api.add(integer, integer) is 'Adds two numbers.

The second one is 10 unless given.';
create function api.greet(name text) returns text language sql stable as $$ select 'Hello, ' || name $$;
create function api.nothing_known() returns text language sql stable as 'select null::text';
create function api.do_nothing() returns void language sql volatile as 'select 1';
create function api.is_odd(n bigint) returns boolean language sql immutable as 'select n % 2 = 1';
create function api.percent_of(part api.percent, whole numeric) returns numeric
language sql immutable as 'select part * whole / 100';
create function api.other_color(color api.color) returns api.color
language sql immutable as $$ select case color when 'red' then 'green' else 'red' end::api.color $$;
create function api.span(low integer, high integer) returns int4range language sql immutable as 'select int4range(low, high)';
create function api.total(numbers integer []) returns bigint language sql immutable as 'select sum(n) from unnest(numbers) as n';
create function api.average(numbers numeric []) returns numeric language sql immutable as 'select avg(n) from unnest(numbers) as n';
create function api.join_words(variadic words text []) returns text language sql immutable as $$ select array_to_string(words, '-') $$;
create function api.first_words(n integer) returns text []
language sql immutable as $$ select (array['one', 'two', 'three'])[:n] $$;
create function api.move(point api.point, by integer default 1) returns api.point
language sql immutable as $$ select row((point).x + by, (point).y + by)::api.point $$;
create function api.bounds(numbers integer [], out low integer, out high integer)
language sql immutable as 'select min(n), max(n) from unnest(numbers) as n';
create function api.only_out(out answer integer) language sql immutable as 'select 42';
create function api.any_record() returns record language sql stable as $$ select 1, 'one'::text $$;
create function api.any_records() returns setof record language sql stable as $$ values (1, 'one'::text), (2, 'two') $$;
create function api.count_to(n integer) returns setof integer language sql stable as 'select generate_series(1, n)';
create function api.squares(n integer) returns table (number integer, square integer)
language sql stable as 'select i, i * i from generate_series(1, n) as i';
create function api.only_column(n integer) returns table (number integer) language sql stable as 'select generate_series(1, n)';
create function api.points(n integer) returns setof api.point
language sql stable as 'select row(i, -i)::api.point from generate_series(1, n) as i';
create function api.people() returns table (name text, nickname text)
language sql stable as $$ values ('Ann', null), ('Bob "B", Jr.', 'Bo') $$;
create function api.echo_json(document json) returns json language sql immutable as 'select document';
create function api.echo_jsonb(document jsonb default null, label text default null) returns jsonb
language sql immutable as $$ select jsonb_build_object('document', document, 'label', label) $$;
create function api.take_json(json) returns json language sql immutable as 'select $1';
create function api.take_jsonb(jsonb) returns jsonb language sql immutable as 'select $1';
create function api.take_text(text) returns text language sql immutable as 'select upper($1)';
create function api.take_bytes(bytea) returns integer language sql immutable as 'select length($1)';
create function api.moment() returns timestamptz language sql stable as $$ select '2026-01-31 12:00+00'::timestamptz $$;
create function api."Odd ""name""/é"(" odd argument" text default '') returns text language sql immutable as 'select $1';
create function api.custom_reply(status integer, headers jsonb default null) returns api.reply
language sql volatile as $$
    select row(custom_reply.status, custom_reply.headers, '{"b": 1, "a": null}', '[["no_such_metric", {}, 1]]')::api.reply
$$;
create function api.tagged() returns api.reply
language sql stable as $$ select row(200, '{"ETag": "\"7\""}', '{"n": 7}', null)::api.reply $$;

-- Overloads

create function api.either(a integer) returns text language sql immutable as $$ select 'a' $$;
create function api.either(b text) returns text language sql immutable as $$ select 'b' $$;
create function api.either(a integer, b integer) returns text language sql immutable as $$ select 'a and b' $$;
create function api.ambiguous(a integer) returns integer language sql immutable as 'select 1';
create function api.ambiguous(a text) returns integer language sql immutable as 'select 2';

-- Who calls

create function api.my_tenant() returns text language sql stable as $$ select current_setting('app.current_tenant_id', true) $$;
create function api.my_tenant_given(tenant_id uuid) returns uuid language sql immutable as 'select tenant_id';
create function api.my_tenants(n integer) returns setof text
language sql stable as $$ select current_setting('app.current_tenant_id', true) from generate_series(1, n) $$;
create function api.my_card_count() returns bigint
language sql stable security definer as 'select count(*) from app.cards';
alter function api.my_card_count() owner to cardbase_api;
create function api.my_user(user_id uuid) returns uuid language sql immutable as 'select user_id';
create function api.maybe_my_user(user_id uuid default null) returns uuid language sql immutable as 'select user_id';

-- What writes

create function api.write_note(note_id integer, text text default '') returns integer
language sql volatile security definer as 'insert into test.notes values (note_id, text) returning 1';
create function api.write_notes(n integer) returns setof integer
language sql volatile security definer as 'insert into test.notes select generate_series(1, n) returning note_id';
create function api.note_ids() returns setof integer
language sql stable security definer as 'select note_id from test.notes order by 1';
create function api.write_although_stable(note_id integer) returns integer
language plpgsql stable security definer as 'begin return api.write_note(note_id); end';
create function api.count_up(step integer, idempotency_key text default null) returns table (taken integer, notes bigint)
language plpgsql volatile security definer as $$
begin
    insert into test.notes values (null, count_up.idempotency_key);
    return query select count_up.step, count(*) from test.notes;
end
$$;
create function api.do_once(idempotency_key text default null) returns void
language sql volatile security definer as 'insert into test.notes values (null, idempotency_key)';
create function api.my_own_once(user_id uuid, idempotency_key text default null) returns uuid
language sql volatile security definer as 'insert into test.notes values (null, idempotency_key) returning user_id';
create function api.peek_once(idempotency_key text default null) returns bigint
language sql stable security definer as 'select count(*) from test.notes';
create function api.fail_at_first(times integer, code text) returns bigint
language plpgsql volatile security definer as $$
declare
    _attempt constant bigint := nextval('test.attempts');
begin
    if _attempt % (times + 1) <> 0 then
        raise exception using errcode = code, message = 'try again';
    end if;
    return _attempt;
end
$$;

-- What goes wrong

create function api.refuse(code text, message text default 'refused', detail text default null, hint text default null)
returns integer
language plpgsql stable as $$
begin
    raise exception using
        errcode = code, message = refuse.message, detail = coalesce(refuse.detail, ''), hint = coalesce(refuse.hint, '');
end
$$;
create function api.refuse_as_set(code text) returns setof integer
language plpgsql stable as $$ begin raise exception using errcode = code; end $$;
create function api.broken() returns integer language plpgsql stable as 'begin return (select missing from nowhere); end';
create function api.sleep(seconds double precision) returns integer
language sql stable as 'select 1 from pg_sleep(seconds)';
create function api.sleep_a_little(seconds double precision) returns integer
language sql stable set statement_timeout = '200ms' as 'select 1 from pg_sleep(seconds)';
create function api.sleep_and_write(seconds double precision, note_id integer) returns integer
language plpgsql volatile security definer as $$
begin
    perform pg_sleep(seconds);
    return api.write_note(note_id);
end
$$;

-- What can't be called

create function api.for_insiders() returns integer language sql immutable as 'select 1';
comment on function api.for_insiders() is E'Not over /rpc.\n\n@internal\nBut the gateway may.';
create function api.for_services() returns integer language sql immutable as 'select 1';
revoke all on function api.for_services() from public;
create function api.any_element(element anyelement) returns text language sql immutable as $$ select '' $$;
create function test.elsewhere() returns integer language sql immutable as 'select 1';
grant usage on schema test to cardbase_gateway;
create procedure api.do_procedure() language sql as 'select 1';

-- A place that can be closed for a while

create table test.closed ();
create function api.enter() returns text language plpgsql stable security definer as $$
begin
    if exists (select from test.closed) then
        raise exception using errcode = 'PT503', message = 'closed for now';
    end if;
    return 'welcome';
end
$$;

-- What a superuser's definer shows is every tenant's, so that none is served: these run as the others do.
grant usage on schema test to cardbase_api;
grant all on all tables in schema test to cardbase_api;
grant all on all sequences in schema test to cardbase_api;
do $do$
declare
    _function regprocedure;
begin
    for _function in
        select oid
        from pg_proc
        where pronamespace = 'api'::regnamespace and prosecdef and proowner = current_user::regrole
    loop
        execute format('alter function %s owner to cardbase_api', _function);
    end loop;
end;
$do$;
