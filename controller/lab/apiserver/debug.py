"""/debug: what tests ask of the server beside Kubernetes, from any process.

| request | what |
| --- | --- |
| POST /debug/faults | a `faults.Fault`; answers {"id": N} |
| DELETE /debug/faults[/N] | take one away, or all |
| GET /debug/faults | how many requests each has met |
| POST /debug/close-watches | end every watch as at its timeout; `?abort=1` cuts; `?resource=pods` picks |
| POST /debug/compact | forget history and open lists: who resumes gets 410 |
| POST /debug/load | NDJSON of objects with apiVersion and kind, stored as they are; answers {"loaded": N} |
| POST /debug/tokens | {"token":, "user":, "groups": []} |
| GET, DELETE /debug/requests | counts by user agent, verb and resource; begin anew |
| GET, DELETE /debug/audit | the record of answers, `?user=` of one user; begin anew |
| GET /debug/grants?user=NAME | permissions of a user under RBAC and whether they were used |
| GET /debug/state | revision, objects by resource, open watches |

There is no authentication here: whoever reaches the server may break it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from controller.lab.apiserver.access import User
from controller.lab.apiserver.api import Api
from controller.lab.apiserver.parts import Parts
from controller.lab.apiserver.paths import parse_path
from controller.lab.apiserver.status import ApiError, bad_request, not_found
from controller.lab.apiserver.store import decode_json

_Handler = Callable[[web.Request], Awaitable[Any]]


class _Token(Struct):
    token: str
    user: str
    groups: tuple[str, ...] = ()


def _resource(request: web.Request) -> str:
    target = parse_path(request.path)
    return target.plural if target else ""


async def _lines(request: web.Request) -> AsyncIterator[bytes]:
    """The lines of a body, however long: those of aiohttp have a limit that large objects exceed."""
    rest: list[bytes] = []
    async for chunk in request.content.iter_any():
        *whole, last = chunk.split(b"\n")
        if whole:
            whole[0] = b"".join((*rest, whole[0]))
            rest.clear()
        rest.append(last)
        for line in filter(bytes.strip, whole):
            yield line
    if last := b"".join(rest).strip():
        yield last


class Debug:
    """The handlers of /debug."""

    def __init__(self, parts: Parts, api: Api) -> None:
        self._store = parts.store
        self._registry = parts.registry
        self._writer = parts.writer
        self._access = parts.access
        self._faults = parts.faults
        self._api = api
        self._handlers: Mapping[tuple[str, str], _Handler] = {
            ("GET", "faults"): self._show_faults,
            ("POST", "faults"): self._add_fault,
            ("DELETE", "faults"): self._clear_faults,
            ("POST", "close-watches"): self._close_watches,
            ("POST", "compact"): self._compact,
            ("POST", "load"): self._load,
            ("POST", "tokens"): self._add_token,
            ("GET", "requests"): self._show_requests,
            ("DELETE", "requests"): self._clear_requests,
            ("GET", "audit"): self._show_audit,
            ("DELETE", "audit"): self._clear_audit,
            ("GET", "grants"): self._show_grants,
            ("GET", "state"): self._show_state,
        }

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The response to a request below /debug."""
        handler = self._handlers.get((request.method, request.match_info["what"]))
        try:
            if handler is None:
                raise not_found("", "debug", request.match_info["what"])
            body = await handler(request)
        except ApiError as error:
            return web.Response(body=msgspec.json.encode(error.body()), status=error.code)
        return web.Response(body=msgspec.json.encode(body), content_type="application/json")

    async def _show_faults(self, _: web.Request) -> Any:  # noqa: ANN401
        return [{"id": number, "requests": count} for number, count in self._faults.hits.items()]

    async def _add_fault(self, request: web.Request) -> Any:  # noqa: ANN401
        return {"id": self._faults.add(await request.read())}

    async def _clear_faults(self, request: web.Request) -> Any:  # noqa: ANN401
        number = request.match_info["rest"].strip("/")
        if number and not number.isdecimal():
            raise bad_request(f"faults have numbers, and {number!r} is none")
        self._faults.clear(int(number) if number else None)
        return {}

    async def _close_watches(self, request: web.Request) -> Any:  # noqa: ANN401
        resource = request.query.get("resource")
        streams = [
            (watch, stream)
            for watch, stream in self._api.streams.items()
            if resource in (None, _resource(stream))
        ]
        for watch, stream in streams:
            if request.query.get("abort") and stream.transport is not None:
                stream.transport.abort()
            watch.close()
        return {"closed": len(streams)}

    async def _compact(self, _: web.Request) -> Any:  # noqa: ANN401
        self._store.compact()
        return {"revision": self._store.revision}

    async def _load(self, request: web.Request) -> Any:  # noqa: ANN401
        loaded = 0
        async for line in _lines(request):
            try:
                value = decode_json(line)
                kind = self._registry.named(value["apiVersion"], value["kind"])
            except (msgspec.DecodeError, KeyError, TypeError) as error:
                raise bad_request(f"object {loaded + 1} cannot be read: {error!r}") from None
            if kind is None:
                raise bad_request(f"object {loaded + 1}: no kind {value['kind']} of {value['apiVersion']}")
            self._writer.load(kind, value)
            loaded += 1
        return {"loaded": loaded}

    async def _add_token(self, request: web.Request) -> Any:  # noqa: ANN401
        try:
            token = msgspec.json.decode(await request.read(), type=_Token)
        except msgspec.DecodeError as error:
            raise bad_request(f"no token: {error}") from None
        self._access.tokens[token.token] = User(token.user, token.groups)
        return {}

    async def _show_requests(self, _: web.Request) -> Any:  # noqa: ANN401
        return [
            {"agent": agent, "verb": verb, "resource": resource, "count": count}
            for (agent, verb, resource), count in sorted(self._api.counts.items())
        ]

    async def _clear_requests(self, _: web.Request) -> Any:  # noqa: ANN401
        self._api.counts.clear()
        return {}

    async def _show_audit(self, request: web.Request) -> Any:  # noqa: ANN401
        user = request.query.get("user")
        return [record for record in self._access.audit if user in (None, record.user)]

    async def _clear_audit(self, _: web.Request) -> Any:  # noqa: ANN401
        self._access.audit.clear()
        return {}

    async def _show_grants(self, request: web.Request) -> Any:  # noqa: ANN401
        name = request.query.get("user", "")
        user = next((user for user in self._access.tokens.values() if user.name == name), User(name))
        return self._access.grants(user)

    async def _show_state(self, _: web.Request) -> Any:  # noqa: ANN401
        objects = {
            f"{plural}.{group}" if group else plural: len(table.records)
            for (group, plural), table in self._store.tables()
        }
        return {
            "revision": self._store.revision,
            "objects": objects,
            "watches": len(self._api.streams),
        }
