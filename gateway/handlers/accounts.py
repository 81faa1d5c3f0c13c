"""Sign-in: handles passwords and tokens, which the database must not see; the rest is done by SQL functions.

An unknown email address and a wrong password take the same path and get the same response. Who has proved nothing takes
turns with all others who haven't (gateway/handlers/call.py), whatever tenant they name.
"""

import hashlib
import ipaddress
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID, uuid4

import msgspec

from gateway.database.statement import Reply
from gateway.errors import ApiError
from gateway.handlers.call import Handler, HandlerRequest
from gateway.handlers.passwords import Passwords
from gateway.handlers.refresh_tokens import SECRET_BYTES, RefreshToken, parse_refresh_token
from gateway.identity import Identifier, Identity, Unauthenticated, issue_token
from gateway.schemas.people import Login, Logout, Refresh, Register
from gateway.settings import Settings


class _Begun(msgspec.Struct):
    salt: str | None


class _Answer(msgspec.Struct):
    data: msgspec.Raw


class _User(msgspec.Struct):
    id: UUID
    tenant_id: UUID


class Accounts:
    """Registration, sign-in and sign-out.

    check_network: counts a request from a network that proves nothing; raises ApiError 429 for one too many
    """

    def __init__(
        self,
        settings: Settings,
        identifier: Identifier,
        passwords: Passwords,
        check_network: Callable[[str], Awaitable[None]],
    ) -> None:
        self._check_network = check_network
        default = "closed" if settings.is_production else "open"
        self._is_open = (settings.sign_up or default) == "open"
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
        proven = await self._proven(request, token)
        reply = await request.call("refresh_session", token.owner | hashes | valid, proven)
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
            return await request.call("end_session", owner | {"token_hash": None}, identity.tenant_id)
        token = parse_refresh_token(body.refresh_token)
        if token is None:
            return Reply(204, None, None, None)
        proven = await self._proven(request, token)
        return await request.call("end_session", token.owner | {"token_hash": token.hash}, proven)

    async def _proven(self, request: HandlerRequest, token: RefreshToken) -> UUID | None:
        """The tenant of a token that we made, valid or not; None for any other. Raises ApiError 429."""
        if token.is_sealed(self._settings.jwt_secret_key):
            return token.tenant_id
        await self._check_network(network_of(request.client))
        return None

    async def _hash_again(self, request: HandlerRequest, begun: Reply, password: str) -> dict[str, str]:
        """The argument to compare: a password, hashed as the stored one was."""
        salt = msgspec.json.decode(begun.body or b"", type=_Begun).salt
        return {"password_hash": await self._passwords.hash_again(password, network_of(request.client), salt)}

    def _check_signing(self) -> None:
        if not self._settings.signs_tokens:
            message = "Nobody can sign in here: it takes JWT_ALGORITHM HS256 and a JWT_SECRET_KEY to sign tokens with."
            raise ApiError(501, "SIGN_IN_NOT_CONFIGURED", message)

    def _tenant_of(self, request: HandlerRequest) -> UUID:
        """The tenant of a new user: a new one, or one that the caller belongs to."""
        body: Register = request.body
        if body.tenant_id is None:
            if not self._is_open:
                message = "Nobody can register a new tenant here. To join one, send its tenant_id and a token of it."
                raise ApiError(403, message=message)
            return uuid4()
        if b"authorization" not in request.context.headers:
            if self._settings.trusts_tenant_header and self._is_open:
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
        assert self._settings.jwt_secret_key is not None
        token = RefreshToken(user.tenant_id, user.id, secret).sealed(self._settings.jwt_secret_key)
        answer = {
            "user": data,
            "access_token": issue_token(self._settings, Identity(user.tenant_id, user.id)),
            "refresh_token": token.text,
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
