"""Passwords are hashed in a few threads of their own, so that no other request is held up."""

import asyncio
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from argon2 import PasswordHasher
from argon2.low_level import Type, hash_secret

from gateway.errors import ApiError

HASHING_THREADS: Final = 2
"""Per process."""
MAXIMUM_WAITING: Final = 64
"""Passwords being hashed or waiting for it; more get 429."""
NETWORK_WAITING: Final = MAXIMUM_WAITING // 2
"""Of them, from one network, so that others can sign in meanwhile."""

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
