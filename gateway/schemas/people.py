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
        description="Case doesn't matter; unique among all tenants.",
    ),
]
NewPassword = Annotated[str, Meta(min_length=8, max_length=1024)]
Password = Annotated[str, Meta(max_length=1024)]
Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=NO_NUL)]
AvatarUrl = Annotated[str, Meta(max_length=2048, pattern="^https?://[!-~]+$")]
Theme = Literal["light", "dark", "system"]
Language = Annotated[str, Meta(max_length=35, pattern="^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
RefreshToken = Annotated[str, Meta(max_length=200, description="As it was returned; can be exchanged once.")]


class User(msgspec.Struct):
    """A user, as that user sees it."""

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
    """Changes to the caller's profile; fields left out stay as they are, null clears a field."""

    display_name: Name | UnsetType | None = UNSET
    avatar_url: AvatarUrl | UnsetType | None = UNSET
    first_name: Name | UnsetType | None = UNSET
    last_name: Name | UnsetType | None = UNSET


class FoundUser(msgspec.Struct):
    """A user, as others in the tenant see it."""

    id: UUID
    display_name: Name | None
    avatar_url: AvatarUrl | None


class SearchUsers(msgspec.Struct):
    """Users to search for."""

    q: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=100,
            pattern=r"^[^\x00]*[^\x00\s][^\x00]*$",
            description="The beginning of a name or email address, or a name with a similar spelling.",
        ),
    ]
    limit: Annotated[int, Meta(ge=1, le=50)] = 10


class Preferences(msgspec.Struct):
    """A user's preferences."""

    theme: Theme
    language: Language
    email_notifications: bool
    push_notifications: bool


class UpdatePreferences(msgspec.Struct):
    """Changes to the caller's preferences; fields left out stay as they are."""

    theme: Theme | UnsetType = UNSET
    language: Language | UnsetType = UNSET
    email_notifications: bool | UnsetType = UNSET
    push_notifications: bool | UnsetType = UNSET


class Register(msgspec.Struct):
    """A new user: of a new tenant, or of the caller's tenant, which tenant_id then names."""

    email: Email
    password: NewPassword
    display_name: Name | None = None
    tenant_id: Annotated[UUID, Meta(description="Requires a token of this tenant. Left out: a new tenant.")] | None = (
        None
    )


class Login(msgspec.Struct):
    """Credentials to sign in with."""

    email: Annotated[str, Meta(max_length=254, pattern=NO_NUL)]
    password: Password


class Refresh(msgspec.Struct):
    """The refresh token to exchange."""

    refresh_token: RefreshToken


class Logout(msgspec.Struct):
    """The refresh token of the session to end; left out: all sessions of the user whose access token is sent."""

    refresh_token: RefreshToken | None = None


class SignedIn(msgspec.Struct):
    """A signed-in user, and the user's tokens."""

    user: User
    access_token: str
    refresh_token: str
    token_type: Literal["bearer"]
    expires_in: Annotated[int, Meta(ge=1, description="Lifetime of the access token in seconds.")]
