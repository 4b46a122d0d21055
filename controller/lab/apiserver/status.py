"""Failures as the API server words them: a `Status` object with code, reason, message and details."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct


class Cause(Struct, frozen=True):
    """One thing wrong with one field; `reason` is a Kubernetes cause type such as FieldValueInvalid."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"


class ApiError(Exception):
    """A request that is answered with a failure. `retry_after`: seconds, sent as the header of that name."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: dict[str, Any] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        """The Status object."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        details = dict(self.details or {})
        if self.retry_after is not None:
            details["retryAfterSeconds"] = self.retry_after
        if details:
            body["details"] = details
        return body


def bad_request(message: str) -> ApiError:
    """400: the request cannot be understood."""
    return ApiError(400, "BadRequest", message)


def not_found(group: str, plural: str, name: str) -> ApiError:
    """404 for an object."""
    details = {"name": name, "group": group, "kind": plural}
    return ApiError(404, "NotFound", f'{_resource(group, plural)} "{name}" not found', details)


def no_such_path() -> ApiError:
    """404 for a path that no resource has."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def already_exists(group: str, plural: str, name: str) -> ApiError:
    """409: the name is taken."""
    details = {"name": name, "group": group, "kind": plural}
    return ApiError(409, "AlreadyExists", f'{_resource(group, plural)} "{name}" already exists', details)


def modified(group: str, plural: str, name: str) -> ApiError:
    """409: the resourceVersion that the client saw is not the latest."""
    return conflict(
        group,
        plural,
        name,
        "the object has been modified; please apply your changes to the latest version and try again",
    )


def conflict(group: str, plural: str, name: str, why: str) -> ApiError:
    """409: a precondition does not hold."""
    message = f'Operation cannot be fulfilled on {_resource(group, plural)} "{name}": {why}'
    return ApiError(409, "Conflict", message, {"name": name, "group": group, "kind": plural})


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> ApiError:
    """422: the object is understood and not allowed."""
    words = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes]
    text = words[0] if len(words) == 1 else "[" + ", ".join(words) + "]"
    details = {
        "name": name,
        "group": group,
        "kind": kind,
        "causes": [
            {"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes
        ],
    }
    return ApiError(422, "Invalid", f'{_resource(group, kind)} "{name}" is invalid: {text}', details)


def expired(message: str) -> ApiError:
    """410: what the client wants to go on from is not kept any more."""
    return ApiError(410, "Expired", message)


def _resource(group: str, name: str) -> str:
    return f"{name}.{group}" if group else name
