"""HTTP as the Kubernetes API speaks it: one session, time-outs everywhere, and every failure an `ApiError`.

    Transport(connection, user_agent=...)   an async context manager
    Transport.send(Request) -> bytes        the body of a 2xx answer
    Transport.stream(Request, silence=...)  lines of an answer that goes on, in the batches they arrive in

A 401 makes it read the credentials again and try once more, whatever the verb, because nothing was done. A
429 is obeyed a few times for the same reason. Nothing else is repeated here, for who asked knows whether
that is safe; only aiohttp repeats a GET, PUT or DELETE once where a kept connection turns out to be closed.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from types import TracebackType
from typing import Self

import aiohttp
import msgspec
from aiohttp.connector import NEEDS_CLEANUP_CLOSED
from msgspec import Struct, field
from yarl import URL

from controller.kube.connection import Connection
from controller.kube.credentials import Credentials
from controller.kube.errors import (
    UNDECODABLE,
    MalformedAnswer,
    Silent,
    Status,
    TooManyRequests,
    Unauthorized,
    Unreachable,
    api_error,
)

JSON = "application/json"
_CONNECT_TIMEOUT = 10.0
_THROTTLED_RETRIES = 3
_LONGEST_RETRY_AFTER = 10.0
_LONGEST_LINE = 16 * 1024 * 1024
"""etcd holds objects up to 1.5 MB; a longer line is not an event."""
_TLS_SETTINGS = re.compile(r" ssl:(?:<[^>]*>|\w+)")
_STATUS = msgspec.json.Decoder(Status, strict=False)


class Request(Struct, frozen=True, kw_only=True):
    """One request. `timeout` is for the whole of it, in seconds."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = JSON
    accept: str = JSON
    encoding: str = "identity"
    timeout: float = 30.0

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Transport:
    """One aiohttp session to one API server."""

    def __init__(self, connection: Connection, *, user_agent: str = "podgate") -> None:
        self._connection = connection
        self._credentials = Credentials(connection)
        self._base = connection.server.rstrip("/")
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # Requests that are given up leave a TLS connection behind in older Pythons, until the server has
            # answered all the same: aiohttp cuts it off where it is told to.
            connector=aiohttp.TCPConnector(enable_cleanup_closed=NEEDS_CLEANUP_CLOSED),
            headers={"User-Agent": self._user_agent},
            auto_decompress=True,
            cookie_jar=aiohttp.DummyCookieJar(),
            # No proxy and no ~/.netrc from the environment: a kubeconfig says proxy-url where one is wanted.
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()
            self._session = None

    async def send(self, request: Request) -> bytes:
        """The body of the answer; an ApiError for anything but 2xx. All within `request.timeout`."""
        with _as_api_errors(request):
            async with asyncio.timeout(request.timeout):
                for _ in range(_THROTTLED_RETRIES):
                    try:
                        return await self._send_once(request)
                    except TooManyRequests as error:
                        if error.retry_after > _LONGEST_RETRY_AFTER:
                            raise
                        await asyncio.sleep(error.retry_after or 1.0)
                return await self._send_once(request)

    @asynccontextmanager
    async def stream(self, request: Request, silence: float) -> AsyncIterator[AsyncIterator[list[bytes]]]:
        """The complete lines of the answer, all that one read brought in one list.

        Silent after `silence` seconds without a byte, Unreachable after `request.timeout` in all or when the
        connection breaks. A last line without its end is dropped: it was cut off.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT, sock_read=silence)
        scope = asyncio.timeout(request.timeout)
        try:
            async with scope:
                with _as_api_errors(request):
                    response = await self._answer(request, limits)
                # What the reader of the lines raises is none of ours to translate.
                async with response, aclosing(_lines(request, response)) as lines:
                    yield lines
        except TimeoutError as error:
            if not scope.expired():
                raise
            raise Unreachable(str(request), f"not ended within {request.timeout:.3g} s") from error

    async def _send_once(self, request: Request) -> bytes:
        limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT)
        async with await self._answer(request, limits) as response:
            return await response.read()

    async def _answer(self, request: Request, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        """The answer if it is 2xx; after a 401 the second one, with credentials read again."""
        try:
            return await self._answer_once(request, limits)
        except Unauthorized:
            if not await self._credentials.renew():
                raise
        return await self._answer_once(request, limits)

    async def _answer_once(self, request: Request, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        response = await self._open(request, limits, await self._credentials.headers())
        try:
            await _check(request, response)
        except BaseException:
            response.close()
            raise
        return response

    def _open(
        self, request: Request, limits: aiohttp.ClientTimeout, credentials: dict[str, str]
    ) -> "aiohttp.client._RequestContextManager":
        if not self._session:
            raise RuntimeError(f"{request}: the client is not open; use it as `async with`")
        headers = {"Accept": request.accept, "Accept-Encoding": request.encoding, **credentials}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        return self._session.request(
            request.method,
            URL(self._base + request.path, encoded=True),
            params=request.params,
            data=request.body,
            headers=headers,
            timeout=limits,
            # A redirect would carry the token elsewhere.
            allow_redirects=False,
            ssl=self._credentials.tls() or True,
            server_hostname=self._connection.tls_server_name or None,
            proxy=self._connection.proxy_url or None,
        )


async def _check(request: Request, response: aiohttp.ClientResponse) -> None:
    if 200 <= response.status < 300:
        return
    body = await response.read()
    try:
        status = _STATUS.decode(body)
    except UNDECODABLE:
        status = Status(message=body[:200].decode("utf-8", "replace").strip())
    # The code of the HTTP answer counts: a proxy in between may have made it.
    known = Status(response.status, status.reason or response.reason or "", status.message, status.details)
    raise api_error(str(request), known, _seconds(response.headers.get("Retry-After", "")))


def _seconds(header: str) -> float:
    """Retry-After in seconds; its other form, a date, is not used by API servers."""
    return float(header) if header.isdecimal() and header.isascii() else 0.0


@contextmanager
def _as_api_errors(request: Request) -> Iterator[None]:
    try:
        yield
    except aiohttp.ServerTimeoutError as error:
        raise Silent(str(request), f"nothing came: {error}") from error
    except TimeoutError as error:
        raise Unreachable(str(request), f"not finished within {request.timeout:.3g} s") from error
    except aiohttp.ClientResponseError as error:
        raise MalformedAnswer(str(request), _text(error)) from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unreachable(str(request), _text(error)) from error


def _text(error: Exception) -> str:
    """In words: aiohttp also says at which address in memory its TLS settings are."""
    return _TLS_SETTINGS.sub("", str(error)) or type(error).__name__


async def _lines(request: Request, response: aiohttp.ClientResponse) -> AsyncGenerator[list[bytes], None]:
    """Split at line ends, without copying a long line once for every piece of it.

    An empty list is news too: the server is alive.
    """
    begun: list[bytes] = []
    length = 0
    with _as_api_errors(request):
        async for chunk in response.content.iter_any():
            first, *rest = chunk.split(b"\n")
            begun.append(first)
            length += len(first)
            if length > _LONGEST_LINE:
                raise MalformedAnswer(str(request), f"a line of more than {_LONGEST_LINE} bytes")
            lines: list[bytes] = []
            if rest:
                lines = [b"".join(begun), *rest]
                begun = [lines.pop()]
                length = len(begun[0])
            yield [line for line in lines if line]
