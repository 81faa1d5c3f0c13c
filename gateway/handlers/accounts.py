"""Sign-in: handles passwords and tokens, which the database must not see; the rest is done by SQL functions.

Passwords are hashed and verified in a few threads of their own, so that no other request is held up. An unknown email
address and a wrong password take the same path and get the same response.
"""

import asyncio
import hashlib
import ipaddress
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID, uuid4

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

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
SECRET_BYTES: Final = 32
"""Of a refresh token, after the ids of its user."""

T = TypeVar("T")


class Passwords:
    """Hashes passwords with argon2id and OWASP's recommended parameters: 19 MiB, two passes, one lane."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._threads = ThreadPoolExecutor(HASHING_THREADS, "passwords")
        self._waiting = 0
        self._decoy_hash: str | None = None

    def close(self) -> None:
        """Stops the threads once they are idle."""
        self._threads.shutdown(wait=False)

    async def hash(self, password: str) -> str:
        """A hash to store. Raises ApiError 429."""
        return await self._in_thread(self._hasher.hash, password)

    async def is_right(self, password: str, password_hash: str | None) -> bool:
        """Whether a password matches a hash; never without one, after the same work. Raises ApiError 429."""
        return await self._in_thread(self._verify, password, password_hash)

    def _verify(self, password: str, password_hash: str | None) -> bool:
        if self._decoy_hash is None:
            self._decoy_hash = self._hasher.hash(secrets.token_urlsafe())
        try:
            self._hasher.verify(password_hash or self._decoy_hash, password)
        except (Argon2Error, InvalidHashError):
            return False
        return password_hash is not None

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        if self._waiting >= MAXIMUM_WAITING:
            raise ApiError(429, message="Too many users are signing in. Retry a little later.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self._waiting -= 1


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


class _Credentials(msgspec.Struct):
    tenant_id: UUID
    user_id: UUID
    password_hash: str


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
        limit = {"attempts_per_address": self._settings.sign_in_attempts_per_address}
        _check_attempts(await request.call("begin_registration", {"address": network_of(request.client)} | limit))
        password = {"password_hash": await self._passwords.hash(body.password)}
        secret, session = self._new_session()
        reply = await request.call("register_user", user | password | session)
        return self._signed_in(reply, secret)

    async def login(self, request: HandlerRequest) -> Reply:
        """Signs in with an email address and a password."""
        self._check_signing()
        body: Login = request.body
        attempt = {"email": body.email, "address": network_of(request.client)}
        limits = {
            "attempts_per_account": self._settings.sign_in_attempts_per_account,
            "attempts_per_address": self._settings.sign_in_attempts_per_address,
        }
        begun = _check_attempts(await request.call("begin_login", attempt | limits))
        found = None if begun.body is None else msgspec.json.decode(begun.body, type=_Credentials)
        is_right = await self._passwords.is_right(body.password, found.password_hash if found is not None else None)
        if found is None or not is_right:
            raise _unauthenticated("The email address or the password is wrong.")
        secret, session = self._new_session()
        owner = {"tenant_id": found.tenant_id, "user_id": found.user_id}
        reply = await request.call("start_session", owner | attempt | session)
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
