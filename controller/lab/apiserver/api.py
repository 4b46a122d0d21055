"""The Kubernetes API over HTTP: from a request to a target, a user, a verb, and the answer."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from msgspec import Struct

from controller.lab.apiserver import patches
from controller.lab.apiserver.access import User
from controller.lab.apiserver.actions import Actions
from controller.lab.apiserver.bodies import (
    JSON,
    failure_response,
    json_response,
    read_body,
    read_delete_options,
    read_object,
    send_list,
    unsupported,
)
from controller.lab.apiserver.discovery import describe
from controller.lab.apiserver.faults import Asked, Dropped
from controller.lab.apiserver.kinds import Kind
from controller.lab.apiserver.lists import ListQuery, list_page, read_revision
from controller.lab.apiserver.parts import Parts
from controller.lab.apiserver.paths import Target, parse_path
from controller.lab.apiserver.selectors import Selection, select
from controller.lab.apiserver.status import ApiError, Cause, bad_request, invalid, no_such_path
from controller.lab.apiserver.store import Record, encode_json
from controller.lab.apiserver.watches import Sender, Watch
from controller.lab.apiserver.wire import Form, error_line, from_version, to_version
from controller.lab.apiserver.writes import Options

_HEALTH = frozenset({"/healthz", "/livez", "/readyz"})
_WATCH_SECONDS = (1800, 3600)
_RETURNED_WHEN_DELETED = frozenset({"pods", "namespaces", "services", "serviceaccounts"})
_CONDITIONAL = frozenset({"leases", "customresourcedefinitions"})
"""Built-in kinds that are replaced only at a known resourceVersion; all custom ones are."""


class Call(Struct, frozen=True):
    """A request that is understood."""

    http: web.Request
    target: Target
    kind: Kind
    user: User
    agent: str
    verb: str

    @property
    def asked(self) -> Asked:
        """What faults look at."""
        return Asked(self.verb, self.target.plural, self.user.name, self.agent)

    @property
    def form(self) -> Form:
        """How the client wants objects."""
        accept = self.http.headers.get("Accept", "")
        return Form(self.kind, metadata_only="as=PartialObjectMetadata" in accept)

    @property
    def options(self) -> Options:
        """What the query says about a write."""
        query = self.http.query
        return Options(
            dry_run=query.get("dryRun") == "All",
            manager=query.get("fieldManager", ""),
            force=query.get("force") == "true",
            strict=query.get("fieldValidation") == "Strict",
        )

    @property
    def selection(self) -> Selection:
        """Which objects a list or watch is about."""
        query = self.http.query
        labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
        return select(self.kind, self.target.namespace, labels, fields, self.target.name)


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


class Api:
    """Answers every path but those of /debug."""

    def __init__(self, parts: Parts, bookmark_seconds: float) -> None:
        self._store = parts.store
        self._registry = parts.registry
        self._writer = parts.writer
        self._access = parts.access
        self._faults = parts.faults
        self._actions = Actions(parts.writer, parts.access)
        self._bookmark_seconds = bookmark_seconds
        self.counts: Counter[tuple[str, str, str]] = Counter()
        """Requests by user agent, verb and resource."""
        self.streams: dict[Watch, web.Request] = {}
        """The watches that are open."""
        self._handlers: Mapping[str, Handler] = {
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The response to any request."""
        try:
            if request.path in _HEALTH:
                await self._faults.meet(Asked("get", request.path, "", _agent(request)))
                return web.Response(text="ok")
            target = parse_path(request.path)
            if target is None or not target.plural:
                return await self._answer_document(request)
            return await self._answer_resource(request, target)
        except ApiError as error:
            return failure_response(error)
        except Dropped:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()

    async def _answer_document(self, request: web.Request) -> web.StreamResponse:
        agent = _agent(request)
        self.counts[agent, request.method.lower(), request.path] += 1
        await self._faults.meet(Asked(request.method.lower(), request.path, "", agent))
        self._access.authenticate(request.headers.get("Authorization", ""))
        if request.method != "GET":
            raise _method_not_allowed()
        return json_response(encode_json(describe(self._registry, request.path)))

    async def _answer_resource(self, request: web.Request, target: Target) -> web.StreamResponse:
        agent = _agent(request)
        verb = target.verb(request.method, watch=request.query.get("watch") in ("1", "true"))
        self.counts[agent, verb or request.method.lower(), target.plural] += 1
        user = self._access.user_of(request.headers.get("Authorization", ""))
        try:
            await self._faults.meet(Asked(verb, target.plural, user.name, agent))
            user = self._access.authenticate(request.headers.get("Authorization", ""))
            self._access.authorize(user, verb, _named(target, request.query))
            kind = self._kind(target)
            if not verb:
                raise _method_not_allowed()
            response = await self._handlers[verb](Call(request, target, kind, user, agent, verb))
        except ApiError as error:
            self._access.record(user, agent, verb, target, error.code)
            raise
        if verb != "watch":  # which is recorded when it begins
            self._access.record(user, agent, verb, target, response.status)
        return response

    def _kind(self, target: Target) -> Kind:
        """The kind of a path. Raises ApiError 404."""
        kind = self._registry.find(target.group, target.version, target.plural)
        if kind is None or (target.namespace and not kind.namespaced):
            raise no_such_path()
        if kind.namespaced and target.name and not target.namespace:
            raise no_such_path()
        if target.subresource and target.subresource not in kind.subresources:
            raise no_such_path()
        return kind

    def _record(self, call: Call) -> Record:
        return self._writer.get(call.kind, (call.target.namespace, call.target.name))

    async def _get(self, call: Call) -> web.StreamResponse:
        return json_response(call.form.object(self._record(call)))

    async def _list(self, call: Call) -> web.StreamResponse:
        query = call.http.query
        limit = query.get("limit") or "0"
        if not limit.isdecimal():
            raise bad_request(f"limit must be a number, and is {limit!r}")
        wanted = ListQuery(
            int(limit),
            query.get("continue", ""),
            query.get("resourceVersion", ""),
            query.get("resourceVersionMatch", ""),
        )
        page = list_page(self._store, call.kind, call.selection, wanted)
        start = call.form.list_start(page.revision, page.token, page.remaining)
        return await send_list(call.http, call.form, start, page.records)

    async def _watch(self, call: Call) -> web.StreamResponse:
        query = call.http.query
        initial = query.get("sendInitialEvents")
        if initial is not None and query.get("resourceVersionMatch") != "NotOlderThan":
            message = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            raise invalid("meta.k8s.io", "ListOptions", "", [Cause("resourceVersionMatch", message)])
        seconds = _seconds(query.get("timeoutSeconds", ""))
        bookmarks = query.get("allowWatchBookmarks") in ("1", "true")
        watch = Watch(call.selection, call.form)
        table = self._store.table(call.kind.key)
        records, error = self._first_events(call, watch)
        start = self._store.revision
        stream = web.StreamResponse(headers={"Content-Type": JSON, "Cache-Control": "no-cache, private"})
        sender = Sender(watch, call.form, self._faults, call.asked, stream)
        table.add_listener(watch)
        self.streams[watch] = call.http
        try:
            await stream.prepare(call.http)
            self._access.record(call.user, call.agent, "watch", call.target, 200)
            if error is not None:
                await sender.send_line(error_line(error.body()))
                return stream
            await sender.send_records(records)
            if initial == "true" and bookmarks:
                await sender.send_line(call.form.bookmark(start, initial_end=True))
            await sender.run(seconds, self._bookmark_seconds if bookmarks else 0, self._store)
        except ConnectionError:
            pass  # the client has left, which is how most watches end
        finally:
            table.remove_listener(watch)
            del self.streams[watch]
        return stream

    def _first_events(self, call: Call, watch: Watch) -> tuple[list[Record], ApiError | None]:
        """The objects to begin with, or what was missed put into the watch; or why neither can be."""
        initial = call.http.query.get("sendInitialEvents")
        revision = call.http.query.get("resourceVersion", "")
        if initial == "true" or (initial is None and revision in ("", "0")):
            return list_page(self._store, call.kind, call.selection, ListQuery()).records, None
        if revision in ("", "0"):
            return [], None
        since = read_revision(revision)
        try:
            for change in self._store.table(call.kind.key).since(since):
                watch.take(change)
        except ApiError as error:
            return [], error
        return [], None

    async def _create(self, call: Call) -> web.StreamResponse:
        body = from_version(call.kind, await read_object(call.http))
        if call.target.name:
            if not call.target.subresource:
                raise _method_not_allowed()
            return json_response(
                encode_json(self._actions.act(call.kind, self._record(call), call.target, body)), 201
            )
        if call.kind.namespaced and not call.target.namespace:
            raise _method_not_allowed()
        record = self._writer.create(call.kind, call.target.namespace, body, call.options)
        return json_response(call.form.object(record), 201)

    async def _update(self, call: Call) -> web.StreamResponse:
        body = from_version(call.kind, await read_object(call.http))
        conditional = call.kind.custom or call.kind.plural in _CONDITIONAL
        if conditional and not (body.get("metadata") or {}).get("resourceVersion"):
            cause = Cause("metadata.resourceVersion", "Invalid value: 0: must be specified for an update")
            raise invalid(call.kind.group, call.kind.name, call.target.name, [cause])
        record = self._writer.update(
            call.kind, self._record(call), body, call.options, call.target.subresource
        )
        return json_response(call.form.object(record))

    async def _patch(self, call: Call) -> web.StreamResponse:
        kind, target = call.kind, call.target
        media_type = call.http.content_type
        patch = await read_body(call.http)
        if media_type == "application/apply-patch+yaml":
            if not isinstance(patch, dict):
                raise bad_request("an apply patch is an object")
            applied = from_version(kind, patch)
            record, made = self._writer.apply(
                kind, (target.namespace, target.name), applied, call.options, target.subresource
            )
            return json_response(call.form.object(record), 201 if made else 200)
        old = self._record(call)
        live = to_version(kind, old.object())
        match media_type:
            case "application/json-patch+json":
                new = patches.json_patch(live, patch)
            case "application/merge-patch+json":
                new = patches.merge_patch(live, patch)
            case "application/strategic-merge-patch+json":
                new = patches.strategic_patch(kind, live, patch)
            case _:
                raise unsupported(media_type)
        record = self._writer.update(kind, old, from_version(kind, new), call.options, target.subresource)
        return json_response(call.form.object(record))

    async def _delete(self, call: Call) -> web.StreamResponse:
        body = await read_delete_options(call.http)
        record, gone = self._writer.delete(call.kind, self._record(call), body, _dry(call.options, body))
        if not gone or call.kind.plural in _RETURNED_WHEN_DELETED:
            return json_response(call.form.object(record))
        details = {"name": record.name, "kind": call.kind.plural, "uid": record.uid}
        if call.kind.group:
            details["group"] = call.kind.group
        body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return json_response(encode_json(body))

    async def _delete_collection(self, call: Call) -> web.StreamResponse:
        body = await read_delete_options(call.http)
        chosen = list_page(self._store, call.kind, call.selection, ListQuery()).records
        deleted = [
            self._writer.delete(call.kind, record, body, _dry(call.options, body))[0] for record in chosen
        ]
        return await send_list(call.http, call.form, call.form.list_start(self._store.revision), deleted)


def _agent(request: web.Request) -> str:
    return request.headers.get("User-Agent", "")


def _seconds(text: str) -> float:
    """How long a watch is to last. Raises ApiError 400."""
    if not text:
        return random.randint(*_WATCH_SECONDS)  # noqa: S311 (so that not all end at once)
    try:
        return int(text)  # an int64 of kube-apiserver, which refuses a fraction
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def _named(target: Target, query: Mapping[str, str]) -> Target:
    """The target with the name that a field selector pins, which RBAC looks at in a list or watch."""
    for term in query.get("fieldSelector", "").split(","):
        path, sign, name = term.partition("=")
        if path == "metadata.name" and sign and not target.name:
            fixed = name.removeprefix("=")
            return Target(
                target.group, target.version, target.plural, target.namespace, fixed, target.subresource
            )
    return target


def _dry(options: Options, body: Mapping[str, Any]) -> Options:
    return Options(dry_run=options.dry_run or body.get("dryRun") == ["All"])


def _method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message)
