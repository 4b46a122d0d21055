"""What goes wrong on purpose, so that tests can see what clients make of it."""

import asyncio
import time
from collections import Counter
from typing import Literal

import msgspec
from msgspec import Struct

from controller.lab.apiserver.status import ApiError, bad_request

Action = Literal["fail", "latency", "drop", "freeze", "watch-seconds", "disorder", "reject-token"]


class Fault(Struct, frozen=True, kw_only=True):
    """One fault, as posted to /debug/faults.

    `fail` answers `code` (5xx, 429, 409, 410, 401, 403; `retry_after` seconds), `latency` waits `delay`
    seconds first, `drop` cuts the connection, `freeze` accepts and never answers, watches included.
    `watch-seconds` ends every new watch after `delay` seconds. `disorder` gathers watch events for `delay`
    seconds, then sends them twice (`duplicate`) or mixed up (`reorder`; `within_object`: also those of one
    object). `reject-token` answers 401 to `token`.

    It lasts for `count` requests or `seconds`, whichever ends first, or until it is taken away. `verbs`,
    `resources` (plurals), `users` and `agent` (part of the user agent) narrow it to requests; empty is all.
    """

    action: Action
    code: int = 503
    retry_after: int | None = None
    delay: float = 0.0
    count: int | None = None
    seconds: float | None = None
    verbs: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    agent: str = ""
    token: str = ""
    duplicate: bool = False
    reorder: bool = False
    within_object: bool = False


class Disorder(Struct, frozen=True):
    """How the events of watches are disturbed; `seconds` they are gathered for."""

    seconds: float
    duplicate: bool
    reorder: bool
    within_object: bool


class Asked(Struct, frozen=True):
    """What faults and counts look at in a request."""

    verb: str
    resource: str
    user: str
    agent: str


class Dropped(Exception):  # noqa: N818 (nothing went wrong: the connection is to be cut)
    """The connection is to be cut without an answer."""


class _Active:
    """A fault and how much of it is left."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._left = fault.count
        self._until = None if fault.seconds is None else time.monotonic() + fault.seconds

    @property
    def is_over(self) -> bool:
        return self._left == 0 or (self._until is not None and time.monotonic() >= self._until)

    @property
    def seconds_left(self) -> float | None:
        return None if self._until is None else max(self._until - time.monotonic(), 0)

    def use(self) -> None:
        if self._left is not None:
            self._left -= 1

    def concerns(self, asked: Asked) -> bool:
        fault = self.fault
        return (
            (not fault.verbs or asked.verb in fault.verbs)
            and (not fault.resources or asked.resource in fault.resources)
            and (not fault.users or asked.user in fault.users)
            and fault.agent in asked.agent
        )


class Faults:
    """The faults in force."""

    def __init__(self) -> None:
        self._active: dict[int, _Active] = {}
        self._next = 1
        self._changed = asyncio.Event()
        self.hits: Counter[int] = Counter()
        """How many requests each fault, by its number, has met."""

    def add(self, body: bytes) -> int:
        """A fault from its JSON; its number. Raises ApiError 400."""
        try:
            fault = msgspec.json.decode(body, type=Fault, strict=True)
        except msgspec.DecodeError as error:
            raise bad_request(f"no fault: {error}") from None
        return self.inject(fault)

    def inject(self, fault: Fault) -> int:
        """Put a fault in force; its number."""
        number, self._next = self._next, self._next + 1
        self._active[number] = _Active(fault)
        return number

    def clear(self, number: int | None = None) -> None:
        """Take one away, or all; what is frozen goes on."""
        if number is None:
            self._active.clear()
        else:
            self._active.pop(number, None)
        self._changed.set()
        self._changed = asyncio.Event()

    async def meet(self, asked: Asked) -> None:
        """Let a request run into what concerns it. Raises ApiError and Dropped."""
        for number, active in self._in_force():
            if not active.concerns(asked):
                continue
            match active.fault.action:
                case "latency":
                    self._use(number, active)
                    await asyncio.sleep(active.fault.delay)
                case "drop":
                    self._use(number, active)
                    raise Dropped
                case "freeze":
                    self._use(number, active)
                    await self._until_over(active)
                case "fail":
                    self._use(number, active)
                    raise _failure(active.fault)
                case _:
                    pass

    async def thaw(self, asked: Asked) -> None:
        """Hold back the events of a watch for as long as it is frozen."""
        while frozen := [
            active
            for _, active in self._in_force()
            if active.fault.action == "freeze" and active.concerns(asked)
        ]:
            await self._until_over(frozen[0])

    def rejects(self, token: str) -> bool:
        """Whether a token is refused at present."""
        for number, active in self._in_force():
            if active.fault.action == "reject-token" and active.fault.token == token:
                self._use(number, active)
                return True
        return False

    @property
    def watch_seconds(self) -> float | None:
        """How long a new watch may last at most."""
        found = [
            active.fault.delay for _, active in self._in_force() if active.fault.action == "watch-seconds"
        ]
        return min(found, default=None)

    @property
    def disorder(self) -> Disorder | None:
        """How events are disturbed."""
        found = [active.fault for _, active in self._in_force() if active.fault.action == "disorder"]
        if not found:
            return None
        return Disorder(
            max(fault.delay for fault in found),
            any(fault.duplicate for fault in found),
            any(fault.reorder for fault in found),
            any(fault.within_object for fault in found),
        )

    def _in_force(self) -> list[tuple[int, _Active]]:
        if not self._active:
            return []
        for number in [number for number, active in self._active.items() if active.is_over]:
            del self._active[number]
        return list(self._active.items())

    def _use(self, number: int, active: _Active) -> None:
        active.use()
        self.hits[number] += 1

    async def _until_over(self, active: _Active) -> None:
        try:
            async with asyncio.timeout(active.seconds_left):
                await self._changed.wait()
        except TimeoutError:
            pass


def _failure(fault: Fault) -> ApiError:
    reasons = {
        401: "Unauthorized",
        403: "Forbidden",
        404: "NotFound",
        409: "Conflict",
        410: "Expired",
        429: "TooManyRequests",
        500: "InternalError",
        503: "ServiceUnavailable",
        504: "Timeout",
    }
    reason = reasons.get(fault.code, "InternalError")
    return ApiError(fault.code, reason, f"injected fault: {reason}", retry_after=fault.retry_after)
