"""Users over HTTP: registration, sign-in, sessions."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
import jwt
import pytest
from argon2 import low_level
from support import shapes
from support.gateways import Gateway
from support.people import AUTH, ME, PASSWORD, new_email, register, signed_in
from support.servers import Database
from support.tokens import OTHER_SECRET, SECRET, bearer, token

from gateway.database.statement import Reply
from gateway.errors import ApiError
from gateway.handlers.accounts import Accounts, network_of
from gateway.handlers.call import HandlerRequest
from gateway.handlers.passwords import NETWORK_WAITING, Passwords
from gateway.handlers.refresh_tokens import RefreshToken, parse_refresh_token
from gateway.identity import Identifier
from gateway.request import RequestContext
from gateway.schemas.people import Login
from gateway.settings import load_settings

WRONG_LOGIN: Final = shapes.api_error("UNAUTHENTICATED", "The email address or the password is wrong.")
SALT: Final = "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBzYWx0IGhlcmU"
NETWORK: Final = "192.0.2.1"
BAD_TOKEN: Final = shapes.api_error("UNAUTHENTICATED", "The refresh token is not valid.")


def session(data: Mapping[str, Any], **user: Any) -> dict[str, Any]:
    """The response to a user who signs in."""
    return {
        "success": True,
        "data": {
            "user": {
                "id": shapes.UUID_V7,
                "tenant_id": shapes.UUID,
                "email": data["user"]["email"],
                "display_name": None,
                "avatar_url": None,
                "first_name": None,
                "last_name": None,
                "created_at": shapes.TIME,
                "updated_at": shapes.TIME,
            }
            | user,
            "access_token": data["access_token"],
            "refresh_token": data["refresh_token"],
            "token_type": "bearer",
            "expires_in": 3600,
        },
        "meta": None,
    }


# --- register -------------------------------------------------------------------------------------------------


def test_registration_returns_the_user_of_a_new_tenant_and_tokens(visitor: httpx.Client) -> None:
    email = new_email()
    body = {"email": email.upper(), "password": PASSWORD, "display_name": "Ann"}
    response = visitor.post(f"{AUTH}/register", json=body)

    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    data = response.json()["data"]
    assert response.json() == session(data, email=email, display_name="Ann")
    claims = jwt.decode(data["access_token"], SECRET, algorithms=["HS256"])
    assert (claims["tenant_id"], claims["sub"]) == (data["user"]["tenant_id"], data["user"]["id"])
    assert claims["exp"] - claims["iat"] == 3600


def test_each_registration_creates_a_tenant(people_gateway: Gateway) -> None:
    assert register(people_gateway)["user"]["tenant_id"] != register(people_gateway)["user"]["tenant_id"]


@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_an_email_address_belongs_to_one_user_in_any_case(
    people_gateway: Gateway, visitor: httpx.Client, change: Callable[[str], str]
) -> None:
    email = register(people_gateway)["user"]["email"]
    response = visitor.post(f"{AUTH}/register", json={"email": change(email), "password": PASSWORD})
    assert response.status_code == 409
    assert response.json() == shapes.api_error(
        "CONFLICT",
        "This email address is taken.",
        ("email", "A user signs in with it. Sign in, or register with another address."),
    )


def test_of_concurrent_registrations_of_one_address_one_succeeds(people_gateway: Gateway) -> None:
    async def race() -> list[int]:
        async with httpx.AsyncClient(base_url=people_gateway.address, trust_env=False, timeout=30) as client:
            body = {"email": new_email(), "password": PASSWORD}
            answers = await asyncio.gather(*(client.post(f"{AUTH}/register", json=body) for _ in range(8)))
            return sorted(answer.status_code for answer in answers)

    assert asyncio.run(race()) == [201] + 7 * [409]


def test_a_member_adds_another_to_its_tenant(people_gateway: Gateway) -> None:
    ann = register(people_gateway)
    ben = register(people_gateway, tenant_id=ann["user"]["tenant_id"], headers=signed_in(ann))
    assert ben["user"]["tenant_id"] == ann["user"]["tenant_id"]
    assert ben["user"]["id"] != ann["user"]["id"]


def test_a_service_adds_a_user_to_its_tenant(people_gateway: Gateway) -> None:
    tenant_id = uuid4()
    user = register(people_gateway, tenant_id=str(tenant_id), headers=bearer(token(tenant_id)))["user"]
    assert user["tenant_id"] == str(tenant_id)


@pytest.mark.parametrize(
    ("headers", "status", "code", "message"),
    [
        ({}, 401, "UNAUTHENTICATED", "To add a user to a tenant, send a token of that tenant."),
        (bearer("nonsense"), 401, "UNAUTHENTICATED", "The token is not valid."),
        (bearer(token(uuid4())), 403, "FORBIDDEN", "A user can only be added to the tenant of the token."),
    ],
    ids=["nobody", "bad token", "other tenant"],
)
def test_nobody_joins_a_tenant_from_outside(
    people_gateway: Gateway, visitor: httpx.Client, headers: dict[str, str], status: int, code: str, message: str
) -> None:
    tenant_id = register(people_gateway)["user"]["tenant_id"]
    body = {"email": new_email(), "password": PASSWORD, "tenant_id": tenant_id}
    response = visitor.post(f"{AUTH}/register", json=body, headers=headers)
    assert response.status_code == status
    assert response.json() == shapes.api_error(code, message)
    assert visitor.post(f"{AUTH}/login", json={"email": body["email"], "password": PASSWORD}).status_code == 401


@pytest.mark.parametrize(
    ("variables", "is_open"),
    [
        ({}, True),
        ({"ENVIRONMENT": "staging"}, True),
        ({"ENVIRONMENT": "production"}, False),
        ({"ENVIRONMENT": "production", "SIGN_UP": "open"}, True),
        ({"SIGN_UP": "closed", "TRUST_TENANT_HEADER": "true"}, False),
    ],
    ids=["default", "staging", "production", "opened", "closed"],
)
def test_sign_up_says_whether_anybody_may_register_a_tenant(
    make_gateway: Callable[..., Gateway], shared_database: Database, variables: dict[str, str], is_open: bool
) -> None:
    gateway = make_gateway(shared_database, JWT_SECRET_KEY=SECRET, **variables)
    tenant_id, other = uuid4(), uuid4()
    with gateway.client() as client:

        def join(headers: dict[str, str], **fields: str) -> httpx.Response:
            body = {"email": new_email(), "password": PASSWORD} | fields
            return client.post(f"{AUTH}/register", json=body, headers=headers)

        response = join({})
        assert response.status_code == (201 if is_open else 403)
        if not is_open:
            assert response.json() == shapes.api_error(
                "FORBIDDEN",
                "Nobody can register a new tenant here. To join one, send its tenant_id and a token of it.",
            )
        # Who has a token of a tenant joins it, whether sign-up is open or closed.
        assert join({}, tenant_id=str(tenant_id)).status_code == 401
        assert join(bearer(token(other)), tenant_id=str(tenant_id)).status_code == 403
        assert join(bearer(token(tenant_id)), tenant_id=str(tenant_id)).status_code == 201


def test_passwords_are_stored_as_argon2id_hashes(people_gateway: Gateway, shared_database: Database) -> None:
    email = register(people_gateway)["user"]["email"]
    stored = shared_database.execute(f"select password_hash from app.credentials where email = '{email}'")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


BAD_REGISTRATIONS: Final = {
    "no email": ({"password": PASSWORD}, "email"),
    "empty email": ({"email": "", "password": PASSWORD}, "email"),
    "no address": ({"email": "ann", "password": PASSWORD}, "email"),
    "blank": ({"email": "a nn@example.com", "password": PASSWORD}, "email"),
    "line feed behind": ({"email": "ann@example.com\n", "password": PASSWORD}, "email"),
    "long email": ({"email": "a" * 251 + "@x.y", "password": PASSWORD}, "email"),
    "number": ({"email": 1, "password": PASSWORD}, "email"),
    "no password": ({"email": "ann@example.com"}, "password"),
    "short password": ({"email": "ann@example.com", "password": "7 chars"}, "password"),
    "long password": ({"email": "ann@example.com", "password": "x" * 1025}, "password"),
    "empty name": ({"email": "ann@example.com", "password": PASSWORD, "display_name": ""}, "display_name"),
    "long name": ({"email": "ann@example.com", "password": PASSWORD, "display_name": "x" * 101}, "display_name"),
    "nul in name": ({"email": "ann@example.com", "password": PASSWORD, "display_name": "a\0"}, "display_name"),
    "bad tenant": ({"email": "ann@example.com", "password": PASSWORD, "tenant_id": "acme"}, "tenant_id"),
    "no object": ([], "body"),
}


@pytest.mark.parametrize(("body", "field"), BAD_REGISTRATIONS.values(), ids=BAD_REGISTRATIONS)
def test_bad_registrations_are_refused(visitor: httpx.Client, body: Any, field: str) -> None:
    response = visitor.post(f"{AUTH}/register", json=body)
    assert response.status_code == 422, response.text
    error = response.json()["error"]
    assert error["code"] == "VALIDATION_ERROR"
    assert [detail["field"] for detail in error["details"]] == [field]


# --- login ----------------------------------------------------------------------------------------------------


def test_login_returns_the_user_and_new_tokens(people_gateway: Gateway, visitor: httpx.Client) -> None:
    registered = register(people_gateway, display_name="Ann")
    body = {"email": registered["user"]["email"].upper(), "password": PASSWORD}
    response = visitor.post(f"{AUTH}/login", json=body)

    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    data = response.json()["data"]
    assert response.json() == session(data, **registered["user"])
    assert data["refresh_token"] != registered["refresh_token"]


def test_wrong_password_and_unknown_address_get_the_same_response(
    people_gateway: Gateway, visitor: httpx.Client
) -> None:
    email = register(people_gateway)["user"]["email"]
    wrong = visitor.post(f"{AUTH}/login", json={"email": email, "password": "wrong"})
    unknown = visitor.post(f"{AUTH}/login", json={"email": new_email(), "password": PASSWORD})
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert wrong.json() == WRONG_LOGIN
    assert unknown.json() == WRONG_LOGIN
    changing = {"x-request-id", "x-trace-id", "x-process-time", "date"}
    told = [
        {name: value for name, value in answer.headers.items() if name not in changing} for answer in (wrong, unknown)
    ]
    assert told[0] == told[1]
    assert told[0]["www-authenticate"] == "Bearer"


async def unlimited(network: str) -> None:
    """In the place of a limit."""


async def test_an_unknown_address_takes_the_path_of_a_wrong_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures the work, not the time: the same calls, and one hash of the same cost."""
    hashed: list[dict[str, Any]] = []

    def hash_secret(*arguments: Any, **parameters: Any) -> bytes:
        hashed.append({name: parameters[name] for name in ("time_cost", "memory_cost", "parallelism", "hash_len")})
        return low_level.hash_secret(*arguments, **parameters)

    monkeypatch.setattr("gateway.handlers.passwords.hash_secret", hash_secret)
    monkeypatch.setattr("argon2._password_hasher.hash_secret", hash_secret)
    passwords = Passwords()
    settings = load_settings({"JWT_SECRET_KEY": SECRET})
    accounts = Accounts(settings, Identifier(settings), passwords, unlimited)
    for salt in (f'"{SALT}"', "null"):
        called: list[str] = []

        async def call(function: str, arguments: Mapping[str, Any], proven: UUID | None = None) -> Reply:
            called.append(function)  # noqa: B023 - called in the same iteration
            if function == "begin_login":
                return Reply(200, None, f'{{"salt": {salt}}}'.encode(), None)  # noqa: B023
            return Reply(401, None, None, None)

        asked = HandlerRequest(RequestContext([]), None, "192.0.2.1", {}, None, Login("ann@example.com", "wrong"), call)
        with pytest.raises(ApiError) as caught:
            await accounts.login(asked)
        assert (caught.value.status, caught.value.message) == (401, WRONG_LOGIN["error"]["message"])
        assert called == ["begin_login", "start_session"]
    assert hashed == [{"time_cost": 2, "memory_cost": 19456, "parallelism": 1, "hash_len": 32}] * 2
    passwords.close()


async def test_a_password_is_hashed_again_as_it_was() -> None:
    passwords = Passwords()
    stored = await passwords.hash(PASSWORD, NETWORK)
    salt = stored.rpartition("$")[0]
    assert await passwords.hash_again(PASSWORD, NETWORK, salt) == stored
    assert await passwords.hash_again("wrong", NETWORK, salt) != stored
    for none in (None, "", "no salt", salt + "$"):
        hashes = [await passwords.hash_again(PASSWORD, NETWORK, none) for _ in range(2)]
        assert len({*hashes, stored}) == 3
    foreign = low_level.hash_secret(
        PASSWORD.encode(), b"12345678", time_cost=1, memory_cost=64, parallelism=2, hash_len=32, type=low_level.Type.ID
    ).decode()
    assert await passwords.hash_again(PASSWORD, NETWORK, foreign.rpartition("$")[0]) == foreign
    passwords.close()


async def test_the_queue_of_passwords_is_bounded_and_no_network_fills_it() -> None:
    passwords = Passwords()
    one, other = NETWORK_WAITING * ["192.0.2.1"], NETWORK_WAITING * ["192.0.2.2"]
    working = [asyncio.create_task(passwords.hash("password", network)) for network in one]
    await asyncio.sleep(0)  # they have been handed to the threads, and none can have finished
    with pytest.raises(ApiError) as caught:
        await passwords.hash("password", "192.0.2.1")
    assert (caught.value.status, caught.value.code) == (429, "RATE_LIMITED")
    working += [asyncio.create_task(passwords.hash("password", network)) for network in other]
    await asyncio.sleep(0)
    assert not any(task.done() and task.exception() for task in working)
    with pytest.raises(ApiError) as caught:
        await passwords.hash("password", "192.0.2.3")
    assert (caught.value.status, caught.value.code) == (429, "RATE_LIMITED")
    for task in working:
        task.cancel()
    await asyncio.gather(*working, return_exceptions=True)
    passwords._threads.shutdown(cancel_futures=True)


BAD_LOGINS: Final = {
    "no email": ({"password": PASSWORD}, "email"),
    "no password": ({"email": "ann@example.com"}, "password"),
    "nul": ({"email": "ann\0@example.com", "password": PASSWORD}, "email"),
    "long email": ({"email": "x" * 255, "password": PASSWORD}, "email"),
    "null": ({"email": None, "password": PASSWORD}, "email"),
}


@pytest.mark.parametrize(("body", "field"), BAD_LOGINS.values(), ids=BAD_LOGINS)
def test_bad_logins_are_refused(visitor: httpx.Client, body: Any, field: str) -> None:
    response = visitor.post(f"{AUTH}/login", json=body)
    assert response.status_code == 422
    assert [detail["field"] for detail in response.json()["error"]["details"]] == [field]


def attempt(client: httpx.Client, email: str, password: str) -> httpx.Response:
    return client.post(f"{AUTH}/login", json={"email": email, "password": password})


def test_failed_attempts_for_an_account_lock_it_for_their_network(
    make_gateway: Callable[..., Gateway], database: Database
) -> None:
    gateway = make_gateway(database, JWT_SECRET_KEY=SECRET)
    known, other = register(gateway)["user"]["email"], register(gateway)["user"]["email"]
    with gateway.client() as client:
        # Success resets the count.
        assert [attempt(client, known, "wrong").status_code for _ in range(9)] == [401] * 9
        assert attempt(client, known, PASSWORD).status_code == 200
        for email in (known, new_email()):
            assert [attempt(client, email, "wrong").status_code for _ in range(10)] == [401] * 10
            locked = attempt(client, email.upper(), PASSWORD)
            assert locked.status_code == 429
            assert locked.json() == shapes.api_error("RATE_LIMITED", "Too many attempts. Retry later.")
            assert 1 <= int(locked.headers["retry-after"]) <= 900
        assert attempt(client, other, PASSWORD).status_code == 200
    # From another network the owner still signs in: the database is told another address, as a proxy would.
    salted = database.execute(
        f"set role cardbase_gateway; select body ->> 'salt' from api.begin_login('{known}', '192.0.2.7')"
    )
    assert salted.splitlines()[-1].startswith("$argon2id$")


def test_concurrent_guesses_are_limited_like_others(make_gateway: Callable[..., Gateway], database: Database) -> None:
    gateway = make_gateway(database, JWT_SECRET_KEY=SECRET)
    email = register(gateway)["user"]["email"]

    async def guess() -> list[int]:
        async with httpx.AsyncClient(base_url=gateway.address, trust_env=False, timeout=30) as client:
            bodies = [{"email": email, "password": f"guess {number}"} for number in range(30)]
            answers = await asyncio.gather(*(client.post(f"{AUTH}/login", json=body) for body in bodies))
            return sorted(answer.status_code for answer in answers)

    assert asyncio.run(guess()) == [401] * 10 + [429] * 20


def test_a_hundred_failures_behind_one_proxy_do_not_stop_others_there(
    make_gateway: Callable[..., Gateway], database: Database
) -> None:
    gateway = make_gateway(database, JWT_SECRET_KEY=SECRET)
    email = register(gateway)["user"]["email"]
    with gateway.client() as client:
        assert {attempt(client, new_email(), PASSWORD).status_code for _ in range(110)} == {401}
        assert attempt(client, email, PASSWORD).status_code == 200
        # A guesser there has fewer attempts for each account.
        assert [attempt(client, email, "wrong").status_code for _ in range(4)] == [401, 401, 401, 429]


def test_registrations_are_limited_by_address(make_gateway: Callable[..., Gateway], database: Database) -> None:
    gateway = make_gateway(database, JWT_SECRET_KEY=SECRET)
    database.execute("select count(api.begin_registration('127.0.0.1')) from generate_series(1, 98)")
    with gateway.client() as client:
        bodies = [{"email": new_email(), "password": PASSWORD} for _ in range(3)]
        assert [client.post(f"{AUTH}/register", json=body).status_code for body in bodies] == [201, 201, 429]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
    ],
)
def test_an_ipv6_address_counts_as_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


# --- refresh and logout ---------------------------------------------------------------------------------------


def refresh(client: httpx.Client, refresh_token: str) -> httpx.Response:
    return client.post(f"{AUTH}/refresh", json={"refresh_token": refresh_token})


def test_a_refresh_token_is_exchanged_for_a_new_one(people_gateway: Gateway, visitor: httpx.Client) -> None:
    user = register(people_gateway)
    response = refresh(visitor, user["refresh_token"])
    assert response.status_code == 200
    data = response.json()["data"]
    assert response.json() == session(data, **user["user"])
    assert data["refresh_token"] != user["refresh_token"]
    assert visitor.get(ME, headers=signed_in(data)).json()["data"] == user["user"]
    assert refresh(visitor, data["refresh_token"]).status_code == 200


def test_a_replayed_refresh_token_revokes_its_family(people_gateway: Gateway, visitor: httpx.Client) -> None:
    user = register(people_gateway)
    login = {"email": user["user"]["email"], "password": PASSWORD}
    elsewhere = visitor.post(f"{AUTH}/login", json=login).json()["data"]
    second = refresh(visitor, user["refresh_token"]).json()["data"]
    third = refresh(visitor, second["refresh_token"]).json()["data"]

    replay = refresh(visitor, user["refresh_token"])
    assert replay.status_code == 401
    assert replay.json() == BAD_TOKEN
    assert replay.headers["www-authenticate"] == "Bearer"
    for stolen in (second, third):
        assert refresh(visitor, stolen["refresh_token"]).json() == BAD_TOKEN
    assert refresh(visitor, elsewhere["refresh_token"]).status_code == 200


def test_of_concurrent_exchanges_of_one_token_at_most_one_succeeds_and_its_token_is_revoked(
    people_gateway: Gateway, visitor: httpx.Client
) -> None:
    user = register(people_gateway)

    async def race() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=people_gateway.address, trust_env=False, timeout=30) as client:
            body = {"refresh_token": user["refresh_token"]}
            return await asyncio.gather(*(client.post(f"{AUTH}/refresh", json=body) for _ in range(8)))

    answers = asyncio.run(race())
    assert sorted(answer.status_code for answer in answers) == [200] + 7 * [401]
    (made,) = (answer.json()["data"] for answer in answers if answer.is_success)
    assert refresh(visitor, made["refresh_token"]).json() == BAD_TOKEN


def test_refresh_tokens_are_stored_as_hashes(people_gateway: Gateway, shared_database: Database) -> None:
    user = register(people_gateway)
    parsed = parse_refresh_token(user["refresh_token"])
    assert parsed is not None
    rows = shared_database.execute(
        f"select encode(token_hash, 'hex') from app.refresh_tokens where user_id = '{user['user']['id']}'"
    )
    assert rows == parsed.hash.hex()
    assert parsed.secret.hex() not in rows


def other_owner(text: str, *, tenant_id: UUID | None = None, user_id: UUID | None = None) -> str:
    """A token with the ids of another user."""
    parsed = parse_refresh_token(text)
    assert parsed is not None
    return RefreshToken(tenant_id or parsed.tenant_id, user_id or parsed.user_id, parsed.secret).text


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: "nonsense",
        lambda text: text[:-4],
        lambda text: text + "AAAA",
        lambda text: text.replace(text[-5], "B" if text[-5] != "B" else "C"),
        lambda text: other_owner(text, tenant_id=uuid4()),
        lambda text: other_owner(text, user_id=uuid4()),
        lambda text: RefreshToken(uuid4(), uuid4(), bytes(32)).text,
        lambda text: "ä" * 88,
    ],
    ids=["empty", "nonsense", "cut", "longer", "changed", "other tenant", "other user", "made up", "not ascii"],
)
def test_malformed_refresh_tokens_are_refused(
    people_gateway: Gateway, visitor: httpx.Client, change: Callable[[str], str]
) -> None:
    user = register(people_gateway)
    response = refresh(visitor, change(user["refresh_token"]))
    assert response.status_code == 401
    assert response.json() == BAD_TOKEN
    assert refresh(visitor, user["refresh_token"]).status_code == 200


@pytest.mark.parametrize("body", [{}, {"refresh_token": None}, {"refresh_token": 1}, {"refresh_token": "x" * 201}])
def test_bad_requests_to_refresh_are_refused(visitor: httpx.Client, body: Any) -> None:
    response = visitor.post(f"{AUTH}/refresh", json=body)
    assert response.status_code == 422
    assert [detail["field"] for detail in response.json()["error"]["details"]] == ["refresh_token"]


def test_a_token_of_a_gateway_with_another_key_or_of_an_older_one_is_exchanged(
    people_gateway: Gateway, visitor: httpx.Client
) -> None:
    """The seal only says who takes whose turn: a changed key signs nobody out."""
    for seal in (b"", bytes(16)):
        parsed = parse_refresh_token(register(people_gateway)["refresh_token"])
        assert parsed is not None
        assert parsed.is_sealed(SECRET)
        assert not parsed.is_sealed(OTHER_SECRET)
        assert not parsed.is_sealed(None)
        assert not parsed._replace(tenant_id=uuid4()).is_sealed(SECRET)
        other = parsed._replace(seal=seal)
        assert not other.is_sealed(SECRET)
        response = refresh(visitor, other.text)
        assert response.status_code == 200
        made = parse_refresh_token(response.json()["data"]["refresh_token"])
        assert made is not None
        assert made.is_sealed(SECRET)


def test_logout_ends_only_the_session_of_the_refresh_token(people_gateway: Gateway, visitor: httpx.Client) -> None:
    user = register(people_gateway)
    login = {"email": user["user"]["email"], "password": PASSWORD}
    elsewhere = visitor.post(f"{AUTH}/login", json=login).json()["data"]
    for _ in range(2):
        response = visitor.post(f"{AUTH}/logout", json={"refresh_token": user["refresh_token"]})
        assert (response.status_code, response.content) == (204, b"")
    assert refresh(visitor, user["refresh_token"]).json() == BAD_TOKEN
    assert refresh(visitor, elsewhere["refresh_token"]).status_code == 200


def test_logout_without_a_refresh_token_ends_all_sessions_of_the_caller(
    people_gateway: Gateway, visitor: httpx.Client
) -> None:
    user, other = register(people_gateway), register(people_gateway)
    login = {"email": user["user"]["email"], "password": PASSWORD}
    elsewhere = visitor.post(f"{AUTH}/login", json=login).json()["data"]
    assert visitor.post(f"{AUTH}/logout", headers=signed_in(user)).status_code == 204
    for ended in (user, elsewhere):
        assert refresh(visitor, ended["refresh_token"]).json() == BAD_TOKEN
    assert refresh(visitor, other["refresh_token"]).status_code == 200


def test_logout_without_a_user_is_refused(visitor: httpx.Client) -> None:
    assert visitor.post(f"{AUTH}/logout").status_code == 401
    assert visitor.post(f"{AUTH}/logout", headers=bearer(token(uuid4()))).status_code == 401


# --- without a key to sign with -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("register", {"email": "ann@example.com", "password": PASSWORD}),
        ("login", {"email": "ann@example.com", "password": PASSWORD}),
        ("refresh", {"refresh_token": "x"}),
    ],
)
def test_without_a_key_nobody_signs_in(gateway: Gateway, path: str, body: dict[str, str]) -> None:
    with gateway.client() as client:
        response = client.post(f"{AUTH}/{path}", json=body)
    assert response.status_code == 501
    assert response.json() == shapes.api_error(
        "SIGN_IN_NOT_CONFIGURED",
        "Nobody can sign in here: it takes JWT_ALGORITHM HS256 and a JWT_SECRET_KEY to sign tokens with.",
    )


def test_a_tenant_header_does_not_identify_a_user(gateway: Gateway) -> None:
    with gateway.client(uuid4()) as client:
        response = client.get(ME)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json() == shapes.api_error(
        "UNAUTHENTICATED", "This is for users: a bearer token with sub is needed."
    )


# --- over /rpc ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    ["begin_login", "begin_registration", "register_user", "start_session", "refresh_session", "end_session"],
)
def test_sign_in_functions_are_not_available_over_rpc(
    people_gateway: Gateway, visitor: httpx.Client, function: str
) -> None:
    response = visitor.post(f"/rpc/{function}", json={}, headers=bearer(token(uuid4(), sub=str(uuid4()))))
    assert response.status_code == 404


def test_secrets_are_in_no_log(people_gateway: Gateway) -> None:
    user = register(people_gateway, password="a password that nobody has logged")
    log = people_gateway.log + people_gateway.output
    assert "a password that nobody has logged" not in log
    assert user["refresh_token"] not in log
    assert user["access_token"] not in log
