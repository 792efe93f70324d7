"""A server by its URL: JSON in, JSON out, within a time and a size.

Redirects are not followed, so that neither text nor key goes to a host that was not named.
"""

import asyncio
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ropewalk.core.errors import RopewalkError
from ropewalk.core.extras import require_extra

KEY_VARIABLE = "ROPEWALK_API_KEY"
"""The environment variable of a server's API key, sent as a bearer token."""
SECONDS = 120.0
TRIES = 3
FIRST_PAUSE_SECONDS = 0.2
MOST_BYTES = 256 * 2**20
"""Of one answer: a prompt of 2^20 tokens takes about 100 bytes a token."""
_SHOWN = 160
_NAN = "not JSON compliant"
"""Starlette's words for NaN, of a table that is too short among other things (vLLM: status 400)."""


class ServerRefusal(RopewalkError):
    """The server answered, with a status of 400 to 499."""


class ComputesNaN(RopewalkError):
    """The server computed what is no number, and could not send it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a server is, and how long one request may take, its retries included.

    url  with scheme and host; a path before ``/v1`` stays
    key  the API key, shown nowhere
    """

    url: str
    seconds: float = SECONDS
    key: str | None = field(default=None, repr=False)

    @classmethod
    def at(cls, url: str, seconds: float = SECONDS) -> "Server":
        """The server of a URL as typed, with the key of the environment.

        Raises RopewalkError for what is no http or https URL, a URL with a password, a time that
        is no positive number, a key that a header cannot hold, and where httpx is missing.
        """
        require_extra("served", "httpx", purpose="a running server")
        try:
            parts = urlsplit(url)
            named = parts.scheme in ("http", "https") and bool(parts.hostname)
            _ = parts.port
        except ValueError:
            named = False
        if not named:
            raise RopewalkError(f"{url}: expected a URL like http://127.0.0.1:8000")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise RopewalkError(
                f"{parts.hostname}: expected a URL without a password or a query; a key is read "
                f"from {KEY_VARIABLE}"
            )
        if not 0 < seconds < float("inf"):
            raise RopewalkError(f"timeout {seconds}: expected seconds above 0")
        key = os.environ.get(KEY_VARIABLE) or None
        if key is not None and not re.fullmatch(r"[\x21-\x7e]+", key):
            raise RopewalkError(f"{KEY_VARIABLE}: expected printable ASCII without blanks")
        plain = url.rstrip("/").removesuffix("/v1").rstrip("/")
        return cls(url=plain, seconds=seconds, key=key)

    def get(self, path: str) -> Any:
        """The JSON at a path. Raises RopewalkError where there is none in time."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON that answers a JSON object. Raises RopewalkError where there is none in time."""
        return self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        # A loop of its own in a thread of its own: a caller may run inside one (a notebook).
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, self._in_time(method, path, body)).result()

    async def _in_time(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        try:
            return await asyncio.wait_for(self._tried(method, path, body), self.seconds)
        except asyncio.TimeoutError:  # another class before Python 3.11
            raise RopewalkError(
                f"{self.url}{path}: no answer within {self.seconds:g} s; allow more (--timeout), "
                "or ask for a shorter --length"
            ) from None

    async def _tried(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        import httpx

        pause = FIRST_PAUSE_SECONDS
        for left in reversed(range(TRIES)):
            try:
                return await self._once(method, path, body)
            except (_Busy, httpx.ReadError, httpx.RemoteProtocolError, httpx.WriteError) as error:
                if not left:
                    raise RopewalkError(self._broken(path, error)) from None
            except httpx.HTTPError as error:
                raise RopewalkError(
                    f"{self.url}: cannot be reached ({self._line(str(error)) or 'no reason'}); "
                    "start the server, or correct the URL"
                ) from None
            await asyncio.sleep(pause)
            pause *= 2
        raise AssertionError

    def _broken(self, path: str, error: Exception) -> str:
        if isinstance(error, _Busy):
            return f"{self.url}{path}: {error}, {TRIES} times; its log says why"
        return (
            f"{self.url}{path}: the connection was closed in the middle of an answer, {TRIES} "
            "times; the server's log says why"
        )

    async def _once(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        import httpx

        headers = {} if self.key is None else {"Authorization": f"Bearer {self.key}"}
        client = httpx.AsyncClient(timeout=self.seconds, follow_redirects=False, headers=headers)
        async with client, client.stream(method, self.url + path, json=body) as response:
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > MOST_BYTES:
                    raise RopewalkError(
                        f"{self.url}{path}: more than {MOST_BYTES // 2**20} MiB in one answer; "
                        "is this the server's address?"
                    )
            return self._read(path, response, bytes(content))

    def _read(self, path: str, response: Any, content: bytes) -> Any:
        status, said = response.status_code, self._line(content.decode("utf-8", "replace"))
        if 300 <= status < 400:
            where = self._line(response.headers.get("location", "nowhere"))
            raise RopewalkError(
                f"{self.url}{path}: redirects to {where}, which is not followed; name that URL"
            )
        if status >= 400 and _NAN in said:
            raise ComputesNaN(
                f"{self.url}{path}: answered {status} ({said}): it computes NaN; ask for a shorter "
                "--length"
            )
        if status >= 500 or status == 429:
            raise _Busy(f"answered {status} ({said or 'nothing said'})")
        if status >= 400:
            raise ServerRefusal(f"{self.url}{path}: answered {status} ({said or 'nothing said'})")
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            kind = self._line(response.headers.get("content-type", "no type"))
            raise RopewalkError(
                f"{self.url}{path}: expected JSON, the answer is {kind}; is this the server's "
                "address?"
            ) from None

    def _line(self, text: str) -> str:
        """One printable line, shortened, without the key."""
        if self.key is not None:
            text = text.replace(self.key, "***")
        words = " ".join(re.sub(r"[^ -~]+", " ", text).split())
        return words if len(words) <= _SHOWN else f"{words[: _SHOWN - 3]}..."


class _Busy(Exception):
    """An answer after which one may ask again."""
