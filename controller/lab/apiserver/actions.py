"""Subresources that do something instead of being stored: binding and eviction of pods, tokens."""

import secrets

from controller.lab.apiserver.access import Access, service_account
from controller.lab.apiserver.builtin_schemas import DELETE_OPTIONS
from controller.lab.apiserver.kinds import Kind
from controller.lab.apiserver.paths import Target
from controller.lab.apiserver.schemas import check
from controller.lab.apiserver.status import invalid, no_such_path
from controller.lab.apiserver.store import Object, Record
from controller.lab.apiserver.writes import Options, Writer

_SUCCESS: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


class Actions:
    """Does what was posted to a subresource."""

    def __init__(self, writer: Writer, access: Access) -> None:
        self._writer = writer
        self._access = access

    def act(self, kind: Kind, record: Record, target: Target, body: Object) -> Object:
        """The answer to a POST. Raises ApiError."""
        match (kind.plural, target.subresource):
            case ("pods", "binding"):
                self._writer.bind(kind, record, body)
                return _SUCCESS
            case ("pods", "eviction"):
                options = body.get("deleteOptions") or {}
                causes = check(options, DELETE_OPTIONS, "deleteOptions")
                if causes:
                    raise invalid("policy", "Eviction", record.name, causes)
                self._writer.delete(kind, record, options, Options())
                return _SUCCESS
            case ("serviceaccounts", "token"):
                return self._token(record, body)
            case _:
                raise no_such_path()

    def _token(self, record: Record, body: Object) -> Object:
        token = f"lab-{secrets.token_hex(16)}"
        self._access.tokens[token] = service_account(record.namespace, record.name)
        return {
            **body,
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "status": {"token": token, "expirationTimestamp": "2099-01-01T00:00:00Z"},
        }
