"""Users, their preferences, and how they sign in."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway.schemas.cards import Time
from gateway.schemas.resources import NO_NUL

Email = Annotated[
    str,
    Meta(
        max_length=254,
        pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$",
        description="In whatever case; one user's among all tenants.",
    ),
]
NewPassword = Annotated[str, Meta(min_length=8, max_length=1024)]
Password = Annotated[str, Meta(max_length=1024)]
Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=NO_NUL)]
AvatarUrl = Annotated[str, Meta(max_length=2048, pattern="^https?://[!-~]+$")]
Theme = Literal["light", "dark", "system"]
Language = Annotated[str, Meta(max_length=35, pattern="^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
RefreshToken = Annotated[str, Meta(max_length=200, description="As it was answered; good for one exchange.")]


class User(msgspec.Struct):
    """A user, as the user sees it."""

    id: UUID
    tenant_id: UUID
    email: str
    display_name: Name | None
    avatar_url: AvatarUrl | None
    first_name: Name | None
    last_name: Name | None
    created_at: Time
    updated_at: Time


class UpdateUser(msgspec.Struct):
    """What to change of the caller's profile; what is left out stays as it is, null empties."""

    display_name: Name | UnsetType | None = UNSET
    avatar_url: AvatarUrl | UnsetType | None = UNSET
    first_name: Name | UnsetType | None = UNSET
    last_name: Name | UnsetType | None = UNSET


class FoundUser(msgspec.Struct):
    """A user, as the others of the tenant see it."""

    id: UUID
    display_name: Name | None
    avatar_url: AvatarUrl | None


class SearchUsers(msgspec.Struct):
    """Whom to look for."""

    q: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=100,
            pattern=r"^[^\x00]*[^\x00\s][^\x00]*$",
            description="The beginning of a name or an email address, or a name not quite spelled so.",
        ),
    ]
    limit: Annotated[int, Meta(ge=1, le=50)] = 10


class Preferences(msgspec.Struct):
    """What a user prefers."""

    theme: Theme
    language: Language
    email_notifications: bool
    push_notifications: bool


class UpdatePreferences(msgspec.Struct):
    """What to change of the caller's preferences; what is left out stays as it is."""

    theme: Theme | UnsetType = UNSET
    language: Language | UnsetType = UNSET
    email_notifications: bool | UnsetType = UNSET
    push_notifications: bool | UnsetType = UNSET


class Register(msgspec.Struct):
    """A new user: of a new tenant, or of the caller's own, which tenant_id then names."""

    email: Email
    password: NewPassword
    display_name: Name | None = None
    tenant_id: Annotated[UUID, Meta(description="Needs a token of this tenant. Left out: a new tenant.")] | None = None


class Login(msgspec.Struct):
    """Who signs in."""

    email: Annotated[str, Meta(max_length=254, pattern=NO_NUL)]
    password: Password


class Refresh(msgspec.Struct):
    """The refresh token to exchange."""

    refresh_token: RefreshToken


class Logout(msgspec.Struct):
    """The refresh token of the session to end; left out: all sessions of the user whose access token is sent."""

    refresh_token: RefreshToken | None = None


class SignedIn(msgspec.Struct):
    """A user who is signed in."""

    user: User
    access_token: str
    refresh_token: str
    token_type: Literal["bearer"]
    expires_in: Annotated[int, Meta(ge=1, description="Seconds that the access token is good for.")]
