"""Objects against the OpenAPI of Kubernetes, strictly: an unknown field or a wrong type is an error.

The models are those of the `kubernetes` package, which are made from it. The kinds of the Prometheus operator
have no model there; of them, this knows the fields that are used.
"""

from typing import Any

import jsonschema
import kubernetes.client

from tests.unit.manifests.folders import Object

Schema = dict[str, Any]


class NotKubernetesError(Exception):
    """An object that the API server would refuse or cut."""


def check(found: Object) -> None:
    """Raises NotKubernetesError."""
    group, _, version = found["apiVersion"].rpartition("/")
    if group == MONITORING:
        _by_schema(found)
        return
    model = getattr(kubernetes.client, f"{version.capitalize()}{found['kind']}", None)
    if model is None:
        raise NotKubernetesError(f"no model for {found['apiVersion']} {found['kind']}")
    try:
        read = model.model_validate(found)
    except ValueError as error:
        raise NotKubernetesError(str(error)) from error
    # A model also takes the names that its fields have in Python.
    written = read.model_dump(by_alias=True, exclude_unset=True, mode="json")
    if written != found:
        raise NotKubernetesError(f"read as {written}, written as {found}")


def _by_schema(found: Object) -> None:
    try:
        jsonschema.validate(found, _MONITORING[found["kind"]])
    except (KeyError, jsonschema.ValidationError) as error:
        raise NotKubernetesError(str(error)) from error


def _fields(required: Schema, optional: Schema | None = None) -> Schema:
    """An object with these fields and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


MONITORING = "monitoring.coreos.com"
_TEXT: Schema = {"type": "string", "minLength": 1}
_LIST: Schema = {"type": "array", "minItems": 1}
_TEXTS: Schema = {"type": "object", "additionalProperties": _TEXT}
_DURATION: Schema = {"type": "string", "pattern": "^[0-9]+[smhd]$"}


def _monitoring(spec: Schema) -> Schema:
    metadata = _fields({"name": _TEXT, "namespace": _TEXT}, {"labels": _TEXTS})
    return _fields(
        {"apiVersion": {"const": f"{MONITORING}/v1"}, "kind": _TEXT, "metadata": metadata, "spec": spec}
    )


_RELABELING = _fields({"sourceLabels": {**_LIST, "items": _TEXT}, "targetLabel": _TEXT})
_ENDPOINT = _fields(
    {"port": _TEXT}, {"path": _TEXT, "interval": _DURATION, "relabelings": {**_LIST, "items": _RELABELING}}
)
_RULE = _fields(
    {"alert": _TEXT, "expr": _TEXT, "labels": _TEXTS, "annotations": _TEXTS},
    {"for": _DURATION},
)
_GROUP = _fields({"name": _TEXT, "rules": {**_LIST, "items": _RULE}})
_MONITORING = {
    "PodMonitor": _monitoring(
        _fields(
            {
                "selector": _fields({"matchLabels": _TEXTS}),
                "podMetricsEndpoints": {**_LIST, "items": _ENDPOINT},
            }
        )
    ),
    "PrometheusRule": _monitoring(_fields({"groups": {**_LIST, "items": _GROUP}})),
}
