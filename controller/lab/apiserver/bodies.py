"""Bodies of requests and responses: JSON and YAML in, JSON out."""

from typing import Any

import yaml
from aiohttp import web
from msgspec import DecodeError

from controller.lab.apiserver.builtin_schemas import DELETE_OPTIONS
from controller.lab.apiserver.schemas import check
from controller.lab.apiserver.status import ApiError, bad_request, invalid
from controller.lab.apiserver.store import Object, Record, decode_json, encode_json
from controller.lab.apiserver.wire import Form

JSON = "application/json"
_STREAM_FROM = 2_000
"""Items from which on a list is sent in pieces, so that it is never in memory as a whole."""


async def read_object(request: web.Request) -> Object:
    """The object sent. Raises ApiError 400 and 415."""
    body = await read_body(request)
    if not isinstance(body, dict):
        raise bad_request("the body of the request is no object")
    if not isinstance(body.get("metadata") or {}, dict):
        raise bad_request("metadata is no object")
    return body


async def read_delete_options(request: web.Request) -> Object:
    """DeleteOptions, which may be missing; the query may say the grace period too. Raises ApiError."""
    body = await read_object(request) if request.body_exists and await request.read() else {}
    causes = check(body, DELETE_OPTIONS)
    if causes:
        raise invalid("meta.k8s.io", "DeleteOptions", "", causes)
    grace = request.query.get("gracePeriodSeconds")
    if grace is not None and grace.isdecimal():
        body["gracePeriodSeconds"] = int(grace)
    return body


async def read_body(request: web.Request) -> Any:  # noqa: ANN401 (plain values)
    """JSON, or YAML where the type says so. Raises ApiError 400 and 415."""
    data = await request.read()
    if "protobuf" in request.content_type:
        raise unsupported(request.content_type)
    try:
        return decode_json(data)
    except DecodeError as error:
        if "yaml" not in request.content_type:
            raise bad_request(f"the body of the request is no JSON: {error}") from None
    try:
        return yaml.load(data, yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise bad_request(f"the body of the request is no YAML: {error}") from None


async def send_list(
    request: web.Request, form: Form, start: bytes, records: list[Record]
) -> web.StreamResponse:
    """A list: at once, or in pieces where it is long."""
    item = form.item
    if len(records) < _STREAM_FROM:
        return json_response(b"%s%s]}\n" % (start, b",".join(map(item, records))))
    stream = web.StreamResponse(headers={"Content-Type": JSON})
    await stream.prepare(request)
    await stream.write(start)
    for place in range(0, len(records), _STREAM_FROM):
        chunk = b",".join(map(item, records[place : place + _STREAM_FROM]))
        await stream.write(b"," + chunk if place else chunk)
    await stream.write(b"]}\n")
    return stream


def json_response(body: bytes, status: int = 200) -> web.Response:
    """JSON that is text already."""
    return web.Response(body=body, status=status, content_type=JSON)


def failure_response(error: ApiError) -> web.Response:
    """The Status of a failure."""
    response = json_response(encode_json(error.body()), error.code)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def unsupported(media_type: str) -> ApiError:
    """415: a body of another type. kubectl sends protobuf where it makes the objects itself."""
    message = (
        f"the body of the request was in an unknown format ({media_type}) - accepted media types include: "
        "application/json, application/yaml"
    )
    return ApiError(415, "UnsupportedMediaType", message)
