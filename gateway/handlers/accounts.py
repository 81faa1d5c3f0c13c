"""Users sign in: what the database must not see happens here, passwords and tokens; the rest are its functions.

A password is hashed and held against a hash in threads of their own, a few at a time, so no other request waits for it.
An unknown email address and a wrong password take the same way and get the same answer.
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
from gateway.errors import RETRY_AFTER_SECONDS, ApiError
from gateway.handlers.call import Handler, HandlerRequest
from gateway.identity import Identifier, Identity, Unauthenticated, issue_token
from gateway.schemas.people import Login, Logout, Refresh, Register
from gateway.settings import Settings

HASHING_THREADS: Final = 2
"""Passwords that each process hashes at a time."""
MAXIMUM_WAITING: Final = 64
"""Passwords that wait for that; over it 429."""
SECRET_BYTES: Final = 32
"""Of a refresh token, beside whose it is."""

T = TypeVar("T")


class Passwords:
    """Hashes passwords with argon2id, by the first of OWASP's choices: 19 MiB, two passes, one lane."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._threads = ThreadPoolExecutor(HASHING_THREADS, "passwords")
        self._waiting = 0
        self._hash_of_nobody: str | None = None

    def close(self) -> None:
        """Ends the threads once they are idle."""
        self._threads.shutdown(wait=False)

    async def hash(self, password: str) -> str:
        """A hash to store. Raises ApiError 429."""
        return await self._in_thread(self._hasher.hash, password)

    async def is_right(self, password: str, password_hash: str | None) -> bool:
        """Whether a password is the hashed one; without a hash never, after just the same work. Raises ApiError 429."""
        return await self._in_thread(self._verify, password, password_hash)

    def _verify(self, password: str, password_hash: str | None) -> bool:
        if self._hash_of_nobody is None:
            self._hash_of_nobody = self._hasher.hash(secrets.token_urlsafe())
        try:
            self._hasher.verify(password_hash or self._hash_of_nobody, password)
        except (Argon2Error, InvalidHashError):
            return False
        return password_hash is not None

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        if self._waiting >= MAXIMUM_WAITING:
            raise ApiError(
                429,
                message="Too many users are signing in. Repeat the request a little later.",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self._waiting -= 1


class RefreshToken(NamedTuple):
    """A refresh token: whose it is, so that only that user's are looked through, and a secret."""

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

    def next(self) -> "RefreshToken":
        """A new one for the same user."""
        return self._replace(secret=secrets.token_bytes(SECRET_BYTES))


def parse_refresh_token(text: str) -> RefreshToken | None:
    """A refresh token from its text; None when it is none."""
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
        self._limits = {
            "attempts_per_account": settings.sign_in_attempts_per_account,
            "attempts_per_address": settings.sign_in_attempts_per_address,
        }
        self._valid_days = settings.refresh_token_expire_days

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By the names that the route table has for them."""
        return {"register": self.register, "login": self.login, "refresh": self.refresh, "logout": self.logout}

    async def register(self, request: HandlerRequest) -> Reply:
        """Makes a user, of a new tenant or of the caller's own, and signs it in."""
        self._check_signing()
        body: Register = request.body
        tenant_id = self._tenant_of(request)
        counted = {"address": network_of(request.client), "attempts_per_address": self._limits["attempts_per_address"]}
        _check_attempts(await request.call("begin_registration", counted))
        password_hash = await self._passwords.hash(body.password)
        secret = secrets.token_bytes(SECRET_BYTES)
        reply = await request.call(
            "register_user",
            {
                "tenant_id": tenant_id,
                "email": body.email,
                "password_hash": password_hash,
                "display_name": body.display_name,
                "token_hash": hashlib.sha256(secret).digest(),
                "valid_days": self._valid_days,
            },
        )
        return self._signed_in(reply, secret)

    async def login(self, request: HandlerRequest) -> Reply:
        """Signs in by email address and password."""
        self._check_signing()
        body: Login = request.body
        attempt = {"email": body.email, "address": network_of(request.client)}
        begun = _check_attempts(await request.call("begin_login", attempt | self._limits))
        found = None if begun.body is None else msgspec.json.decode(begun.body, type=_Credentials)
        is_right = await self._passwords.is_right(body.password, found.password_hash if found is not None else None)
        if found is None or not is_right:
            raise _unknown("The email address or the password is wrong.")
        secret = secrets.token_bytes(SECRET_BYTES)
        session = {"token_hash": hashlib.sha256(secret).digest(), "valid_days": self._valid_days}
        owner = {"tenant_id": found.tenant_id, "user_id": found.user_id}
        reply = await request.call("start_session", owner | attempt | session)
        return self._signed_in(reply, secret)

    async def refresh(self, request: HandlerRequest) -> Reply:
        """Exchanges a refresh token for the next one, and a new access token."""
        self._check_signing()
        body: Refresh = request.body
        token = parse_refresh_token(body.refresh_token)
        if token is None:
            raise _unknown("The refresh token is not valid.")
        following = token.next()
        reply = await request.call(
            "refresh_session",
            {
                "tenant_id": token.tenant_id,
                "user_id": token.user_id,
                "token_hash": token.hash,
                "next_token_hash": following.hash,
                "valid_days": self._valid_days,
            },
        )
        if reply.status != 200:
            raise _unknown("The refresh token is not valid.")
        return self._signed_in(reply, following.secret)

    async def logout(self, request: HandlerRequest) -> Reply:
        """Ends the session of a refresh token, or, without one, all sessions of the user who asks."""
        body: Logout = request.body
        if body.refresh_token is None:
            identity = self._identifier.identify(request.context.headers)
            if identity.user_id is None:
                raise Unauthenticated("missing", "Send the refresh token, or the access token of a user.")
            owner, token_hash = (identity.tenant_id, identity.user_id), None
        else:
            token = parse_refresh_token(body.refresh_token)
            if token is None:
                return Reply(204, None, None, None)
            owner, token_hash = (token.tenant_id, token.user_id), token.hash
        return await request.call("end_session", {"tenant_id": owner[0], "user_id": owner[1], "token_hash": token_hash})

    def _check_signing(self) -> None:
        if self._settings.jwt_algorithm != "HS256" or self._settings.jwt_secret_key is None:
            raise ApiError(
                501,
                "SIGN_IN_NOT_CONFIGURED",
                "Nobody can sign in here: tokens are signed with JWT_SECRET_KEY (and JWT_ALGORITHM HS256), "
                "which is not set.",
            )

    def _tenant_of(self, request: HandlerRequest) -> UUID:
        """The tenant that a new user belongs to: a new one, or one that the caller belongs to."""
        body: Register = request.body
        if body.tenant_id is None:
            return uuid4()
        if b"authorization" not in request.context.headers:
            if self._settings.trusts_tenant_header:
                return body.tenant_id  # as a header would be believed
            raise Unauthenticated("missing", "To add a user to a tenant, send a token of that tenant.")
        identity = self._identifier.identify(request.context.headers)
        if identity.tenant_id != body.tenant_id:
            raise ApiError(403, message="A user can only be added to the tenant that the token is of.")
        return body.tenant_id

    def _signed_in(self, reply: Reply, secret: bytes) -> Reply:
        """The answer of a function that answers the user, with the user's tokens beside it."""
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
    """What the attempts from an address are counted for: the address, or the /64 network that an IPv6 one is in."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def _check_attempts(reply: Reply) -> Reply:
    if reply.status == 429:
        headers = msgspec.json.decode(reply.headers or b"{}", type=dict[str, str])
        raise ApiError(429, message="Too many attempts. Repeat the request later.", headers=headers)
    return reply


def _unknown(message: str) -> ApiError:
    return ApiError(401, message=message, headers={"WWW-Authenticate": "Bearer"})
