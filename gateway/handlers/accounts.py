"""Sign-in: handles passwords and tokens, which the database must not see; the rest is done by SQL functions.

Passwords are hashed and verified in a few threads of their own, so that no other request is held up. An unknown email
address and a wrong password take the same path and get the same response.
"""

import asyncio
import hashlib
import ipaddress
import re
import secrets
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID, uuid4

import msgspec
from argon2 import PasswordHasher
from argon2.low_level import Type, hash_secret

from gateway.database.statement import Reply
from gateway.errors import ApiError
from gateway.handlers.call import Handler, HandlerRequest
from gateway.identity import Identifier, Identity, Unauthenticated, issue_token
from gateway.schemas.people import Login, Logout, Refresh, Register
from gateway.settings import Settings

HASHING_THREADS: Final = 2
"""Per process."""
MAXIMUM_WAITING: Final = 64
"""Passwords being hashed or waiting for it; more get 429."""
NETWORK_WAITING: Final = MAXIMUM_WAITING // 2
"""Of them, from one network, so that others can sign in meanwhile."""
SECRET_BYTES: Final = 32
"""Of a refresh token, after the ids of its user."""

_SALT: Final = re.compile(r"\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})")

T = TypeVar("T")


class Passwords:
    """Hashes passwords with argon2id and OWASP's recommended parameters: 19 MiB, two passes, one lane.

    Stored hashes never come here: a password is hashed with the salt and parameters of the stored one, and the
    database compares.
    """

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._threads = ThreadPoolExecutor(HASHING_THREADS, "passwords")
        self._waiting: Counter[str] = Counter()

    def close(self) -> None:
        """Stops the threads once they are idle."""
        self._threads.shutdown(wait=False)

    async def hash(self, password: str, network: str) -> str:
        """A hash to store. Raises ApiError 429 when too many are waiting, or too many from the caller's network."""
        return await self._in_thread(network, self._hasher.hash, password)

    async def hash_again(self, password: str, network: str, salt: str | None) -> str:
        """The hash of a password as a stored one was made: `salt` is all of it but the hash itself.

        Without a salt, or with a malformed one, it is a hash that matches nothing, after the same work. Raises ApiError
        429.
        """
        return await self._in_thread(network, self._hash_again, password, salt)

    def _hash_again(self, password: str, salt: str | None) -> str:
        found = _SALT.fullmatch(salt or "")
        if found is None:
            return self._hasher.hash(password)
        memory_cost, time_cost, parallelism = (int(number) for number in found.groups()[:3])
        encoded = found[4].encode()
        return hash_secret(
            password.encode(),
            b64decode(encoded + b"=" * (-len(encoded) % 4)),
            time_cost=time_cost,
            memory_cost=memory_cost,
            parallelism=parallelism,
            hash_len=self._hasher.hash_len,
            type=Type.ID,
        ).decode()

    async def _in_thread(self, network: str, work: Callable[..., T], *arguments: Any) -> T:
        if self._waiting.total() >= MAXIMUM_WAITING or self._waiting[network] >= NETWORK_WAITING:
            raise ApiError(429, message="Too many users are signing in. Retry a little later.")
        self._waiting[network] += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self._waiting[network] -= 1
            if not self._waiting[network]:
                del self._waiting[network]


class RefreshToken(NamedTuple):
    """A refresh token: a secret, and the ids of its user, so that only that user's sessions are searched."""

    tenant_id: UUID
    user_id: UUID
    secret: bytes

    @property
    def text(self) -> str:
        """As the client gets it."""
        return msgspec.to_builtins(self.tenant_id.bytes + self.user_id.bytes + self.secret)  # type: ignore[no-any-return]

    @property
    def hash(self) -> bytes:
        """As the database gets it."""
        return hashlib.sha256(self.secret).digest()

    @property
    def owner(self) -> dict[str, UUID]:
        """The ids of its user, as arguments of a call."""
        return {"tenant_id": self.tenant_id, "user_id": self.user_id}


def parse_refresh_token(text: str) -> RefreshToken | None:
    """A refresh token from its text; None when it is malformed."""
    try:
        parts = msgspec.convert(text, bytes)
    except msgspec.ValidationError:
        return None
    if len(parts) != 32 + SECRET_BYTES:
        return None
    return RefreshToken(UUID(bytes=parts[:16]), UUID(bytes=parts[16:32]), parts[32:])


class _Begun(msgspec.Struct):
    salt: str | None


class _Answer(msgspec.Struct):
    data: msgspec.Raw


class _User(msgspec.Struct):
    id: UUID
    tenant_id: UUID


class Accounts:
    """Registration, sign-in and sign-out."""

    def __init__(self, settings: Settings, identifier: Identifier, passwords: Passwords) -> None:
        self._settings = settings
        self._identifier = identifier
        self._passwords = passwords

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By their names in the route table."""
        return {"register": self.register, "login": self.login, "refresh": self.refresh, "logout": self.logout}

    async def register(self, request: HandlerRequest) -> Reply:
        """Creates a user, in a new tenant or the caller's own, and signs it in."""
        self._check_signing()
        body: Register = request.body
        user = {"tenant_id": self._tenant_of(request), "email": body.email, "display_name": body.display_name}
        network = network_of(request.client)
        _check_attempts(await request.call("begin_registration", {"network": network}))
        password = {"password_hash": await self._passwords.hash(body.password, network)}
        secret, session = self._new_session()
        reply = await request.call("register_user", user | password | session)
        return self._signed_in(reply, secret)

    async def login(self, request: HandlerRequest) -> Reply:
        """Signs in with an email address and a password."""
        self._check_signing()
        body: Login = request.body
        attempt = {"email": body.email, "network": network_of(request.client)}
        begun = _check_attempts(await request.call("begin_login", attempt))
        password = await self._hash_again(request, begun, body.password)
        secret, session = self._new_session()
        reply = _check_attempts(await request.call("start_session", attempt | password | session))
        if reply.status != 200:
            raise _unauthenticated("The email address or the password is wrong.")
        return self._signed_in(reply, secret)

    async def refresh(self, request: HandlerRequest) -> Reply:
        """Exchanges a refresh token for a new one and a new access token."""
        self._check_signing()
        body: Refresh = request.body
        token = parse_refresh_token(body.refresh_token)
        if token is None:
            raise _unauthenticated("The refresh token is not valid.")
        following = token._replace(secret=secrets.token_bytes(SECRET_BYTES))
        hashes = {"token_hash": token.hash, "next_token_hash": following.hash}
        valid = {"valid_days": self._settings.refresh_token_expire_days}
        reply = await request.call("refresh_session", token.owner | hashes | valid)
        if reply.status != 200:
            raise _unauthenticated("The refresh token is not valid.")
        return self._signed_in(reply, following.secret)

    async def logout(self, request: HandlerRequest) -> Reply:
        """Ends the session of a refresh token, or without one all sessions of the caller."""
        body: Logout = request.body
        if body.refresh_token is None:
            identity = self._identifier.identify(request.context.headers)
            if identity.user_id is None:
                raise Unauthenticated("missing", "Send the refresh token, or the access token of a user.")
            owner = {"tenant_id": identity.tenant_id, "user_id": identity.user_id}
            return await request.call("end_session", owner | {"token_hash": None})
        token = parse_refresh_token(body.refresh_token)
        if token is None:
            return Reply(204, None, None, None)
        return await request.call("end_session", token.owner | {"token_hash": token.hash})

    async def _hash_again(self, request: HandlerRequest, begun: Reply, password: str) -> dict[str, str]:
        """The argument to compare: a password, hashed as the stored one was."""
        salt = msgspec.json.decode(begun.body or b"", type=_Begun).salt
        return {"password_hash": await self._passwords.hash_again(password, network_of(request.client), salt)}

    def _check_signing(self) -> None:
        if self._settings.jwt_algorithm != "HS256" or self._settings.jwt_secret_key is None:
            message = "Nobody can sign in here: it takes JWT_ALGORITHM HS256 and a JWT_SECRET_KEY to sign tokens with."
            raise ApiError(501, "SIGN_IN_NOT_CONFIGURED", message)

    def _tenant_of(self, request: HandlerRequest) -> UUID:
        """The tenant of a new user: a new one, or one that the caller belongs to."""
        body: Register = request.body
        if body.tenant_id is None:
            return uuid4()
        if b"authorization" not in request.context.headers:
            if self._settings.trusts_tenant_header:
                return body.tenant_id  # trusted as the header would be
            raise Unauthenticated("missing", "To add a user to a tenant, send a token of that tenant.")
        identity = self._identifier.identify(request.context.headers)
        if identity.tenant_id != body.tenant_id:
            raise ApiError(403, message="A user can only be added to the tenant of the token.")
        return body.tenant_id

    def _new_session(self) -> tuple[bytes, dict[str, Any]]:
        """The secret of a new session's refresh token, and the arguments of the call that stores it."""
        secret = secrets.token_bytes(SECRET_BYTES)
        valid_days = self._settings.refresh_token_expire_days
        return secret, {"token_hash": hashlib.sha256(secret).digest(), "valid_days": valid_days}

    def _signed_in(self, reply: Reply, secret: bytes) -> Reply:
        """A reply with a user, with the user's tokens added."""
        assert reply.body is not None
        data = msgspec.json.decode(reply.body, type=_Answer).data
        user = msgspec.json.decode(data, type=_User)
        answer = {
            "user": data,
            "access_token": issue_token(self._settings, Identity(user.tenant_id, user.id)),
            "refresh_token": RefreshToken(user.tenant_id, user.id, secret).text,
            "token_type": "bearer",
            "expires_in": 60 * self._settings.access_token_expire_minutes,
        }
        body = msgspec.json.encode({"success": True, "data": answer, "meta": None})
        return reply._replace(headers=b'{"Cache-Control": "no-store"}', body=body)


def network_of(address: str) -> str:
    """What attempts are counted for: an address, or the /64 network of an IPv6 one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))


def _check_attempts(reply: Reply) -> Reply:
    if reply.status == 429:
        headers = msgspec.json.decode(reply.headers or b"{}", type=dict[str, str])
        raise ApiError(429, message="Too many attempts. Retry later.", headers=headers)
    return reply


def _unauthenticated(message: str) -> ApiError:
    return ApiError(401, message=message, headers={"WWW-Authenticate": "Bearer"})
