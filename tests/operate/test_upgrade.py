"""Upgrade with no downtime: deploy, then one gateway after the other, as docs/operations.md says."""

import asyncio
import shutil
import threading
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Self
from uuid import UUID

import httpx
from support import REPOSITORY
from support.gateways import Gateway, run_cardbase, wait_until
from support.servers import Database

from gateway.operate.deploy import DEFAULT_SOURCE, deploy

BATCH = "/api/v1/cards/batch"


class Clients:
    """Callers behind a load balancer, which sends them to the first of its gateways that takes a connection."""

    def __init__(self, tenant_id: UUID) -> None:
        self.addresses: list[str] = []
        self.statuses: list[int] = []
        self.failures: list[str] = []
        self._headers = {"X-Tenant-ID": str(tenant_id)}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(4)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        numbers = cycle(range(100))
        while not self._stop.is_set():
            body = {"cards": [{"card_type": "voice", "content": {"number": next(numbers)}}]}
            for address in [*self.addresses]:
                try:
                    answer = httpx.post(f"{address}{BATCH}", json=body, headers=self._headers, trust_env=False)
                except httpx.ConnectError:
                    continue
                except httpx.TransportError as error:
                    self.failures.append(f"{type(error).__name__}: {error}")
                    break
                self.statuses.append(answer.status_code)
                break
            else:
                self.failures.append("no gateway takes a connection")

    def wait_for(self, more: int) -> None:
        """Waits until that many more calls have a response."""
        before = len(self.statuses)
        wait_until(lambda: len(self.statuses) >= before + more, 60)


def test_no_call_fails_while_database_and_gateways_are_replaced(
    database: Database, make_gateway: Callable[..., Gateway], tmp_path: Path, tenant_id: UUID
) -> None:
    first, second = make_gateway(database), make_gateway(database, WORKERS="2")
    clients = Clients(tenant_id)
    clients.addresses = [first.address, second.address]
    with clients:
        clients.wait_for(20)
        done = run_cardbase("deploy", "--all", folder=tmp_path, DEPLOY_DATABASE_URL=database.url())
        assert done.returncode == 0, done.stderr
        clients.wait_for(20)
        for old in (first, second):
            new = make_gateway(database)
            clients.addresses[:] = [*clients.addresses[1:], new.address]
            clients.wait_for(4)
            assert old.stop() == 0
            clients.wait_for(20)
    assert clients.failures == []
    assert set(clients.statuses) <= {200, 201}


PGQUEUER = """
create schema queue authorization cardbase_owner;
set local role cardbase_owner;
create type queue.pgqueuer_status as enum ('queued', 'picked', 'successful', 'exception', 'canceled', 'deleted');
create table queue.pgqueuer (
    id bigserial primary key,
    priority integer not null,
    queue_manager_id uuid,
    created timestamptz not null default now(),
    updated timestamptz not null default now(),
    heartbeat timestamptz not null default now(),
    execute_after timestamptz not null default now(),
    status queue.pgqueuer_status not null,
    entrypoint text not null,
    payload bytea
);
create table queue.pgqueuer_log (id bigserial primary key, job_id bigint not null);
create function app.discard_row() returns trigger language plpgsql as $$ begin return null; end; $$;
create trigger discard_row before insert on queue.pgqueuer_log for each row execute function app.discard_row();
create function queue.fn_pgqueuer_changed() returns trigger language plpgsql as $$ begin return null; end; $$;
create trigger tg_pgqueuer_changed after insert or update on queue.pgqueuer
for each row execute function queue.fn_pgqueuer_changed();
create function app.begin_jobs(worker_id uuid, queue_ids bigint[]) returns integer language sql return 1;
create function app.keep_worker(worker_id uuid, host text, seconds double precision) returns void
language sql return null;
"""
"""What matters here of PgQueuer's tables, and of the functions that used them."""

JOBS_BEFORE = """
insert into queue.pgqueuer (id, priority, status, entrypoint, execute_after)
values
(1, 1, 'queued', 'test', now() - interval '1 minute'),
(2, -1, 'queued', 'test', '2999-01-01'),
(3, 0, 'picked', 'test', now()),
(4, 0, 'picked', 'test', now());
insert into app.jobs
(tenant_id, id, kind, queue, arguments, maximum_attempts, status, attempts, queue_id, worker_id)
select
    repeat(job.tenant, 8)::uuid,
    ('00000000-0000-7000-8000-00000000000' || job.number)::uuid,
    'test',
    job.queue,
    '{}',
    5,
    job.status,
    job.attempts,
    nullif(job.number, 5),
    case when job.status <> 'pending' then 'dddddddd-0000-0000-0000-000000000000'::uuid end
from (
    values
    ('aaaa', 1, 'high', 'pending', 1),
    ('aaaa', 2, 'low', 'pending', 0),
    -- It was picked, and not begun.
    ('bbbb', 3, 'default', 'pending', 0),
    ('bbbb', 4, 'default', 'running', 2),
    ('bbbb', 5, 'default', 'completed', 1)
) as job (tenant, number, queue, status, attempts);
insert into app.workers (worker_id, host, expires_at)
values ('dddddddd-0000-0000-0000-000000000000', 'there', now() - interval '1 second');
"""
TAKE = """
select string_agg(format('%s:%s', right(id::text, 1), attempt), ' ' order by id)
from app.take_jobs('11111111-0000-0000-0000-000000000000', 10, '{high,default,low}', '{test}', null, 10)
"""


def test_pending_put_off_and_running_jobs_are_carried_over_from_pgqueuer(
    empty_database: Database, tmp_path: Path
) -> None:
    before = tmp_path / "db"
    for folder in ("setup", "functions/foundation", "migrations"):
        shutil.copytree(DEFAULT_SOURCE / folder, before / folder)
    for migration in (before / "migrations").iterdir():
        if migration.name > "0016":
            migration.unlink()
    asyncio.run(deploy(empty_database.url(), source=before))
    empty_database.execute(f"begin; {PGQUEUER} commit", JOBS_BEFORE)
    asyncio.run(deploy(empty_database.url()))

    assert empty_database.execute("select to_regnamespace('queue')") == ""
    assert empty_database.execute(
        "select right(id::text, 1), priority, is_ready, extract(year from run_at) = 2999"
        " from app.pending_jobs order by id"
    ).splitlines() == ["1|1|t|f", "2|-1|f|t", "3|0|t|f"]
    assert empty_database.execute(TAKE, user="cardbase_worker") == "1:2 3:1"
    # The one that was running goes on when its worker is known to be dead.
    empty_database.execute(
        "insert into app.workers (worker_id, host, alive_since, expires_at) values"
        " ('11111111-0000-0000-0000-000000000000', 'here', now() - interval '1 hour', now() + interval '1 minute')"
    )
    assert empty_database.execute("select app.recover_jobs()", user="cardbase_worker") == "1"
    assert empty_database.execute(TAKE, user="cardbase_worker") == "4:3"


OLD_KEYS = """
update app.idempotency_store set idempotency_key = concat_ws(':', 'user', owner_id, idempotency_key)
where owner_id <> '00000000-0000-0000-0000-000000000000';
alter table app.idempotency_store drop constraint idempotency_store_pkey;
alter table app.idempotency_store add constraint idempotency_store_pkey primary key (tenant_id, idempotency_key);
alter table app.idempotency_store drop column owner_id cascade;
create function app.claim_idempotency_key(uuid, text, bytea) returns void language sql as '';
create function app.remember_reply(uuid, text, bytea, integer, api.reply) returns void language sql as '';
create function app.user_idempotency_key(uuid, text) returns void language sql as '';
"""
"""Makes the store of idempotency keys what it was before migration 0019."""


def test_idempotency_keys_of_tenants_and_users_are_kept(database: Database, tenant_id: UUID) -> None:
    user_id = "aaaaaaaa-0000-0000-0000-00000000000a"
    owners_and_keys = [("null", "k"), (f"'{user_id}'", "k"), ("null", "user:k"), ("null", f"user:{user_id}:k")]
    for number, (owner, key) in enumerate(owners_and_keys):
        database.execute(
            f"select api.remember_request('{tenant_id}', {owner}, '{key}', 'f', '[]', 24, 1, 1, '{number}')"
        )
    database.execute(OLD_KEYS)
    assert f"user:{user_id}:k" in database.execute("select idempotency_key from app.idempotency_store")

    database.execute((REPOSITORY / "db/migrations/0019_idempotency_owners.sql").read_text())

    for number, (owner, key) in enumerate(owners_and_keys):
        claim = f"select body from api.claim_request('{tenant_id}', {owner}, '{key}', 'f', '[]')"
        assert database.execute(claim) == str(number)
    stranger = "aaaaaaaa-0000-0000-0000-00000000000b"
    claim = f"select status is null from api.claim_request('{tenant_id}', '{stranger}', 'k', 'f', '[]')"
    assert database.execute(claim) == "t"
