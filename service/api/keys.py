"""API keys: which are known, and how much each may ask; and who a client is, by its key or else its address."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from starlette.types import Scope

from service.errors import RateLimited, Unauthenticated

LONGEST_ADDRESS: Final = 64
"""Characters of an address at most: of IPv6 45, and the name of an interface."""


def sent_key(api_key: str | None, authorization: str | None) -> str:
    """Find the API key of a request.

    Args:
        api_key: The header `X-API-Key`, or None.
        authorization: The header `Authorization`, or None; a bearer token counts.

    Returns:
        The key; empty where there is none.
    """
    scheme, _, token = (authorization or "").partition(" ")
    return api_key or (token.strip() if scheme.lower() == "bearer" else "")


def client_of(scope: Scope) -> str:
    """Name the client on whose account a request is served, wherever something is shared.

    Args:
        scope: The ASGI scope of a request.

    Returns:
        The name that its API key stands for, or its network.
    """
    state = scope.get("state") or {}
    peer = scope.get("client")
    return str(state.get("client") or network(peer[0] if peer else ""))


def network(address: str) -> str:
    """Reduce an address to the network of one client: of IPv6 the first 64 bits, which one household is given.

    Args:
        address: An IPv4 or IPv6 address, or any other name of a peer.

    Returns:
        The network's first address; any other name as it is.
    """
    return _network(address) if len(address) <= LONGEST_ADDRESS else address


@lru_cache(1024)  # each request asks three times
def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # a UNIX socket, or a proxy's name for its client
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False).network_address)


class Keys:
    """Known keys, of which only digests are kept.

    `rate` is in requests a minute for each key, in bursts of as many, or of one where it is less; 0 sets no limit. `clock`
    gives the time in seconds, and never goes back.
    """

    def __init__(self, keys: Sequence[str], rate: float = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._digests = [_digest(key.encode()) for key in keys]
        self._rate, self._clock = rate, clock
        self._tokens: dict[bytes, tuple[float, float]] = {}

    def take(self, sent: bytes) -> str:
        """Let one request pass and count it against its key's rate.

        Args:
            sent: The key as it was sent; empty where there is none.

        Returns:
            The client's name, made of the key's digest.

        Raises:
            Unauthenticated: There is no key, or it is not known.
            RateLimited: The key's requests are used up.
        """
        if not sent:
            raise Unauthenticated("This service needs an API key, as X-API-Key or as a bearer token.")
        digest = _digest(sent)
        # Every known one is compared, each in constant time.
        if not sum(hmac.compare_digest(digest, known) for known in self._digests):
            raise Unauthenticated("The API key is not valid.")
        self._spend(digest)
        return f"key {digest.hex()[:16]}"

    def give_back(self, sent: bytes) -> None:
        """Let a request that passed not count after all.

        Args:
            sent: Its key as it was sent.
        """
        key = _digest(sent)
        if key in self._tokens:
            tokens, last = self._tokens[key]
            self._tokens[key] = (tokens + 1, last)

    def _spend(self, key: bytes) -> None:
        """Take one token from the key's bucket, which fills at the rate up to a minute's worth."""
        if not self._rate:
            return
        now = self._clock()
        burst = max(1.0, self._rate)
        tokens, last = self._tokens.get(key, (burst, now))
        tokens = min(burst, tokens + (now - last) * self._rate / 60)
        if tokens < 1:
            self._tokens[key] = (tokens, now)
            raise RateLimited("The key's requests for this minute are used up.", (1 - tokens) * 60 / self._rate)
        self._tokens[key] = (tokens - 1, now)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
