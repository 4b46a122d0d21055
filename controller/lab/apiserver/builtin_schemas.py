"""What built-in objects must look like for the server to work on them, in the form of structural schemas.

Of NetworkPolicy: which fields there are, so that the others are dropped as by a real server; what they may
hold is for `controller.objects.decode_policy` to say. Of the others: types of what the server itself reads.
"""

from collections.abc import Mapping
from typing import Any

from controller.lab.apiserver.kinds import RBAC_GROUP, Key

Schema = dict[str, Any]

_ANYTHING: Schema = {"x-kubernetes-preserve-unknown-fields": True}


def _mapping(**fields: Schema) -> Schema:
    return {"type": "object", "nullable": True, "properties": fields, **_ANYTHING}


def _list(items: Schema) -> Schema:
    return {"type": "array", "nullable": True, "items": {**items, "nullable": False}}


_EXPRESSION: Schema = {"properties": {"key": {}, "operator": {}, "values": _ANYTHING}}
_SELECTOR: Schema = {"properties": {"matchLabels": _ANYTHING, "matchExpressions": {"items": _EXPRESSION}}}
_PEER: Schema = {
    "properties": {
        "podSelector": _SELECTOR,
        "namespaceSelector": _SELECTOR,
        "ipBlock": {"properties": {"cidr": {}, "except": _ANYTHING}},
    }
}
_PORT: Schema = {"properties": {"protocol": {}, "port": {}, "endPort": {}}}


def _rules(peers: str) -> Schema:
    return {"items": {"properties": {peers: {"items": _PEER}, "ports": {"items": _PORT}}}}


NETWORK_POLICY: Schema = {
    "properties": {
        "spec": {
            "properties": {
                "podSelector": _SELECTOR,
                "policyTypes": _ANYTHING,
                "ingress": _rules("from"),
                "egress": _rules("to"),
            }
        }
    }
}

_TEXT: Schema = {"type": "string", "nullable": True}
_NUMBER: Schema = {"type": "integer", "nullable": True}
_TEXTS = _list({"type": "string"})
_PORTS = _list(_mapping(protocol=_TEXT))
_CONTAINERS = _list(_mapping(ports=_PORTS))
_ROLE = _mapping(
    rules=_list(_mapping(verbs=_TEXTS, apiGroups=_TEXTS, resources=_TEXTS, resourceNames=_TEXTS))
)
_BINDING = _mapping(
    subjects=_list(_mapping(kind=_TEXT, name=_TEXT, namespace=_TEXT)),
    roleRef=_mapping(kind=_TEXT, name=_TEXT),
)

METADATA: Schema = _mapping(
    metadata=_mapping(
        **dict.fromkeys(("name", "generateName", "namespace", "uid", "resourceVersion"), _TEXT),
        labels=_mapping(),
        annotations=_mapping(),
        finalizers=_TEXTS,
        ownerReferences=_list(_mapping(uid=_TEXT)),
        managedFields=_list(
            _mapping(
                **dict.fromkeys(("manager", "operation", "apiVersion", "subresource", "time"), _TEXT),
                fieldsV1=_mapping(),
            )
        ),
    )
)
"""Of every object."""

DELETE_OPTIONS: Schema = _mapping(
    preconditions=_mapping(uid=_TEXT, resourceVersion=_TEXT),
    gracePeriodSeconds=_NUMBER,
)

TYPES: Mapping[Key, Schema] = {
    ("", "namespaces"): _mapping(spec=_mapping(), status=_mapping()),
    ("", "pods"): _mapping(
        spec=_mapping(
            containers=_CONTAINERS,
            initContainers=_CONTAINERS,
            nodeName=_TEXT,
            terminationGracePeriodSeconds=_NUMBER,
        ),
        status=_mapping(conditions=_list(_mapping()), phase=_TEXT),
    ),
    ("", "secrets"): _mapping(data=_mapping(), stringData=_mapping(), type=_TEXT),
    ("", "services"): _mapping(
        spec=_mapping(
            ports=_list(_mapping(port=_NUMBER, nodePort=_NUMBER, protocol=_TEXT)),
            type=_TEXT,
            clusterIP=_TEXT,
            clusterIPs=_TEXTS,
            ipFamilies={**_TEXTS, "items": {"type": "string", "enum": ["IPv4", "IPv6"]}},
        )
    ),
    (RBAC_GROUP, "roles"): _ROLE,
    (RBAC_GROUP, "clusterroles"): _ROLE,
    (RBAC_GROUP, "rolebindings"): _BINDING,
    (RBAC_GROUP, "clusterrolebindings"): _BINDING,
    ("apiextensions.k8s.io", "customresourcedefinitions"): _mapping(
        spec=_mapping(
            group=_TEXT,
            scope=_TEXT,
            names=_mapping(plural=_TEXT, kind=_TEXT, singular=_TEXT, shortNames=_TEXTS, categories=_TEXTS),
            versions=_list(
                {
                    **_mapping(
                        name={"type": "string"},
                        schema=_mapping(openAPIV3Schema=_mapping()),
                        subresources=_mapping(),
                        selectableFields=_list(
                            {**_mapping(jsonPath={"type": "string"}), "required": ["jsonPath"]}
                        ),
                    ),
                    "required": ["name"],
                }
            ),
        ),
        status=_mapping(conditions=_list(_mapping())),
    ),
}
"""Schemas that objects are checked against and nothing is dropped by."""
