"""What can go wrong between us and the API server.

    KubeError
    ├── ConfigurationError          how to reach the cluster is not known: names file, context and field
    ├── NotLeader                   a fenced write was held back: another replica may be leading
    └── ApiError                    a request did not do what was asked: .code .reason .message .retry_after
        ├── Unreachable             no answer: refused, name unknown, TLS, time-out, cut off (code 0)
        │   └── Silent              a watch sent nothing, not even a bookmark, for too long
        ├── MalformedAnswer         an answer, but not one of the Kubernetes API
        ├── BadRequest              400, 422 and whatever 4xx is not below
        ├── Unauthorized            401, after the credentials were read again
        ├── Forbidden               403
        ├── NotFound                404
        ├── Conflict                409: the object is not what we thought it was; read it again
        │   └── AlreadyExists       409 of a create
        ├── Gone                    410: this resourceVersion or continue token is too old; list again
        ├── TooManyRequests         429
        └── ServerError             5xx

A Status is an answer of the server, `code`, `reason` and `message` are its words.
"""

import msgspec
from msgspec import Struct, field

UNDECODABLE = (msgspec.DecodeError, RecursionError)
"""What decoding JSON raises: on nonsense, and on nonsense nested thousands deep."""


class KubeError(Exception):
    """Anything this package raises on purpose."""


class ConfigurationError(KubeError):
    """The settings do not lead to a cluster; the text names the file, the context and the field."""


class NotLeader(KubeError):  # noqa: N818 - a state, as the others in this tree
    """A write was held back because the lease is not held, or not for certain any more."""


class Status(Struct, frozen=True):
    """A `v1` Status: how the server says that something failed."""

    code: int = 0
    reason: str = ""
    message: str = ""
    details: "StatusDetails | None" = None


class StatusDetails(Struct, frozen=True):
    """What of a Status' details is used."""

    retry_after: int = field(default=0, name="retryAfterSeconds")


class ApiError(KubeError):
    """A request that failed. `request` is for people: `GET /api/v1/pods`."""

    remedy = ""

    def __init__(
        self, request: str, message: str, *, code: int = 0, reason: str = "", retry_after: float = 0.0
    ) -> None:
        super().__init__(request, message)
        self.request = request
        self.message = message
        self.code = code
        self.reason = reason or type(self).__name__
        self.retry_after = retry_after
        """Seconds that the server asks us to wait; 0 if it does not."""

    def __str__(self) -> str:
        code = f"{self.code} " if self.code else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.request}: {code}{self.reason}: {self.message}{remedy}"


class Unreachable(ApiError):  # noqa: N818
    """No answer: refused, name unknown, TLS failure, time-out, or the connection broke off."""


class Silent(Unreachable):
    """A watch on which nothing came for longer than the server's bookmarks are apart."""


class MalformedAnswer(ApiError):  # noqa: N818
    """An answer that is not one of the Kubernetes API: a proxy's page, a body cut short, a wrong type."""


class BadRequest(ApiError):  # noqa: N818
    """The server understood that we asked something wrong."""


class Unauthorized(ApiError):  # noqa: N818
    """The credentials are not accepted, also after they were read again."""

    remedy = "renew the token or the client certificate"


class Forbidden(ApiError):  # noqa: N818
    """RBAC or an admission policy says no."""

    remedy = "bind a role that allows it to the service account or user"


class NotFound(ApiError):  # noqa: N818
    """No such object, or no such kind of object."""


class Conflict(ApiError):  # noqa: N818
    """The object changed, or has another uid, since it was read."""


class AlreadyExists(Conflict):
    """An object of this name is there."""


class Gone(ApiError):  # noqa: N818
    """The history asked for was compacted away."""


class TooManyRequests(ApiError):  # noqa: N818
    """The server protects itself; nothing was done. `retry_after` says when to come again."""


class ServerError(ApiError):
    """The server failed."""


_LONGEST_WAIT = 60
_BY_CODE: dict[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    429: TooManyRequests,
}


def api_error(request: str, status: Status, retry_after: float = 0.0) -> ApiError:
    """The exception for a Status; `retry_after` is that of the header, if there was one."""
    kind = _BY_CODE.get(status.code, ServerError if status.code >= 500 else BadRequest)
    if kind is Conflict and status.reason == "AlreadyExists":
        kind = AlreadyExists
    asked = retry_after or (status.details.retry_after if status.details else 0)
    message = status.message or "the server gives no reason"
    # However long the server asks for: a wait without end would be a failure of its own.
    seconds = float(min(max(asked, 0), _LONGEST_WAIT))
    return kind(request, message, code=status.code, reason=status.reason, retry_after=seconds)
