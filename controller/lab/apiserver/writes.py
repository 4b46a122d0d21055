"""What becomes of an object between a request and the store: the rules of create, update and delete.

Kubernetes' rules on metadata are here: generated names, uid, generation, optimistic locking, finalizers,
the isolation of status, namespaces that must exist and take their contents along.
"""

import random
import uuid
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from controller.lab.apiserver import crds, ownership
from controller.lab.apiserver.admission import PODS, Admission, check_types
from controller.lab.apiserver.clock import timestamp
from controller.lab.apiserver.kinds import CRDS, NAMESPACES, Kind, Registry
from controller.lab.apiserver.states import (
    check_identity,
    check_preconditions,
    differs,
    isolate,
    without_type,
)
from controller.lab.apiserver.status import (
    ApiError,
    Cause,
    already_exists,
    bad_request,
    conflict,
    invalid,
    not_found,
)
from controller.lab.apiserver.store import Name, Object, Record, Store, make_record

_FIXED = ("uid", "creationTimestamp", "name", "namespace", "deletionTimestamp", "deletionGracePeriodSeconds")
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_ATTEMPTS = 8


class Options(Struct, frozen=True):
    """What a query says about a write."""

    dry_run: bool = False
    manager: str = ""
    force: bool = False
    strict: bool = False


class Writer:
    """Creates, changes and deletes objects.

    `graceful_pods`: a pod with a node stays, with a deletionTimestamp, until somebody deletes it with a grace
    period of 0, as a kubelet does. Without it pods vanish at once.
    """

    def __init__(self, store: Store, registry: Registry, *, graceful_pods: bool = False) -> None:
        self._store = store
        self._registry = registry
        self._admission = Admission()
        self._graceful_pods = graceful_pods
        self._random = random.Random(0)  # noqa: S311 (names, not secrets; the same in each run)

    def get(self, kind: Kind, key: Name) -> Record:
        """The record of an object. Raises ApiError 404."""
        record = self._store.table(kind.key).records.get(key)
        if record is None:
            raise not_found(kind.group, kind.plural, key[1])
        return record

    def create(self, kind: Kind, namespace: str, value: Object, options: Options) -> Record:
        """A new object. Raises ApiError 400, 403, 404, 409 and 422."""
        self._check_type(kind, value)
        metadata = value["metadata"]
        self._place(kind, metadata, namespace)
        if metadata.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        self._name(kind, metadata)
        key = (metadata.get("namespace") or "", metadata["name"])
        if key in self._store.table(kind.key).records:
            raise already_exists(kind.group, kind.plural, metadata["name"])
        self._check_namespace(kind, key[0])
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
            metadata.pop(field, None)
        if kind.has_status and kind.plural != "nodes":
            value.pop("status", None)  # a kubelet registers its node with a status; nobody else may
        self._admission.admit(kind, value, None, strict=options.strict)
        metadata.update(uid=str(uuid.uuid4()), creationTimestamp=timestamp())
        if kind.generations:
            metadata["generation"] = 1
        if options.manager and not metadata.get("managedFields"):
            ownership.track(kind, value, None, options.manager)
        if options.dry_run:
            self._admission.forget(kind, value)
            return make_record(kind, value, self._store.revision)
        record = self._store.put(kind, value)
        if kind.key == CRDS:
            self._serve(value)
        return record

    def update(  # noqa: PLR0913 (the object, what to make of it, and how)
        self,
        kind: Kind,
        old: Record,
        value: Object,
        options: Options,
        subresource: str = "",
        *,
        applied: bool = False,
    ) -> Record:
        """Another state of an object; a write that changes nothing keeps the revision.

        `applied`: the owners in managedFields are already those of the new state.
        Raises ApiError 400, 409 and 422.
        """
        self._check_type(kind, value)
        before = old.object()
        metadata = value["metadata"]
        check_identity(kind, old, metadata)
        metadata.pop("resourceVersion", None)
        value = isolate(kind, value, before, subresource)
        metadata = value["metadata"]
        for field in (*_FIXED, "generation"):
            if field in before["metadata"]:
                metadata[field] = before["metadata"][field]
            else:
                metadata.pop(field, None)
        self._admission.admit(kind, value, before, strict=options.strict)
        if kind.generations and differs(value, before, ("metadata", "status")):
            metadata["generation"] = before["metadata"].get("generation", 1) + 1
        if not applied:
            self._track(kind, value, before, options, subresource)
        before["metadata"].pop("resourceVersion", None)
        if without_type(value) == before:
            return old
        if options.dry_run:
            return make_record(kind, value, old.revision)
        return self._store_change(kind, value)

    def apply(
        self, kind: Kind, key: Name, applied: Object, options: Options, subresource: str = ""
    ) -> tuple[Record, bool]:
        """Server-side apply; the second value is whether the object was made.

        Raises ApiError 400, 404, 409 and 422.
        """
        if not options.manager:
            raise bad_request(
                "PatchOptions is invalid: fieldManager: Required value: is required for apply patch"
            )
        self._check_type(kind, applied)
        metadata = applied["metadata"]
        if metadata.get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        if metadata.setdefault("name", key[1]) != key[1]:
            raise bad_request("the name of the object does not match the name on the URL")
        old = self._store.table(kind.key).records.get(key)
        if old is None:
            if subresource:
                raise not_found(kind.group, kind.plural, key[1])
            base: Object = {"metadata": {}}
            made = ownership.apply(kind, base, applied, options.manager, force=True)
            made["metadata"].update(name=key[1])
            made.update(apiVersion=applied["apiVersion"], kind=applied["kind"])
            return self.create(kind, key[0], made, options), True
        live = old.object()
        revision = metadata.get("resourceVersion")
        merged = ownership.apply(
            kind, live, applied, options.manager, force=options.force, subresource=subresource
        )
        merged["metadata"] = {**merged["metadata"], "resourceVersion": revision}
        return self.update(kind, old, merged, options, subresource, applied=True), False

    def delete(
        self, kind: Kind, old: Record, body: Mapping[str, Any], options: Options
    ) -> tuple[Record, bool]:
        """Delete an object, or mark it where finalizers or grace keep it; the second value: it is gone.

        Raises ApiError 409 when a precondition does not hold.
        """
        check_preconditions(kind, old, body.get("preconditions") or {})
        value = old.object()
        grace = self._grace(kind, value, body)
        if options.dry_run:
            return old, True
        if kind.key == NAMESPACES:
            return self._delete_namespace(kind, old, value)
        if not value["metadata"].get("finalizers") and not grace:
            return self._remove(kind, value), True
        if value["metadata"].get("deletionTimestamp"):
            return old, False
        value["metadata"]["deletionTimestamp"] = timestamp()
        value["metadata"]["deletionGracePeriodSeconds"] = grace or 0
        if kind.generations:
            value["metadata"]["generation"] = value["metadata"].get("generation", 1) + 1
        return self._store.put(kind, value), False

    def bind(self, pod: Kind, old: Record, body: Object) -> None:
        """Give a pod its node. Raises ApiError 409 when it has one."""
        value = old.object()
        target = body.get("target")
        node = target.get("name") if isinstance(target, dict) else None
        if not isinstance(node, str) or not node:
            raise invalid(
                "", "Binding", old.name, [Cause("target.name", "Required value", "FieldValueRequired")]
            )
        if value["spec"].get("nodeName"):
            raise conflict("", "pods/binding", old.name, f"pod {old.name} is already assigned to node")
        value["spec"]["nodeName"] = node
        conditions = value["status"].setdefault("conditions", [])
        conditions.append({"type": "PodScheduled", "status": "True", "lastTransitionTime": timestamp()})
        self._store.put(pod, value)

    def load(self, kind: Kind, value: Object) -> Record:
        """Store an object as it is, status and all, checking nothing: for benchmarks and fixtures."""
        metadata = value["metadata"]
        old = self._store.table(kind.key).records.get((metadata.get("namespace") or "", metadata["name"]))
        metadata["uid"] = old.uid if old is not None else metadata.get("uid") or str(uuid.uuid4())
        metadata.setdefault("creationTimestamp", timestamp())
        if kind.generations:
            metadata.setdefault("generation", 1)
        if kind.key == NAMESPACES:
            metadata["labels"] = {
                **(metadata.get("labels") or {}),
                "kubernetes.io/metadata.name": metadata["name"],
            }
        record = self._store.put(kind, value)
        if kind.key == CRDS:
            crds.accept(value)
            self._serve(value)
        return record

    def _check_type(self, kind: Kind, value: Object) -> None:
        value["metadata"] = value.get("metadata") or {}
        check_types(kind, value)
        api_version = value.setdefault("apiVersion", kind.api_version)
        name = value.setdefault("kind", kind.name)
        if (api_version, name) != (kind.api_version, kind.name):
            raise bad_request(
                f"{name} in version {str(api_version)!r} cannot be handled as a {kind.name} in version "
                f"{kind.api_version!r}"
            )

    def _place(self, kind: Kind, metadata: dict[str, Any], namespace: str) -> None:
        if not kind.namespaced:
            metadata.pop("namespace", None)
        elif (metadata.get("namespace") or namespace) != namespace:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        else:
            metadata["namespace"] = namespace

    def _name(self, kind: Kind, metadata: dict[str, Any]) -> None:
        prefix = metadata.get("generateName")
        if metadata.get("name"):
            return
        if not isinstance(prefix, str) or not prefix:
            cause = Cause(
                "metadata.name", "Required value: name or generateName is required", "FieldValueRequired"
            )
            raise invalid(kind.group, kind.name, "", [cause])
        taken = self._store.table(kind.key).records
        for _ in range(_ATTEMPTS):
            metadata["name"] = prefix + "".join(self._random.choices(_LETTERS, k=5))
            if (metadata.get("namespace") or "", metadata["name"]) not in taken:
                return

    def _check_namespace(self, kind: Kind, namespace: str) -> None:
        if not kind.namespaced:
            return
        record = self._store.table(NAMESPACES).records.get(("", namespace))
        if record is None:
            raise not_found("", "namespaces", namespace)
        if b'"deletionTimestamp"' in record.data and record.object()["metadata"].get("deletionTimestamp"):
            message = f"unable to create new content in namespace {namespace} because it is being terminated"
            cause = {"reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace"}
            raise ApiError(403, "Forbidden", message, {"causes": [cause]})

    def _track(self, kind: Kind, value: Object, before: Object, options: Options, subresource: str) -> None:
        """Keep managedFields up, unless the client wrote them itself."""
        old = before["metadata"].get("managedFields")
        new = value["metadata"].get("managedFields")
        if new and new != old:
            return
        if old:
            value["metadata"]["managedFields"] = old
        if old or options.manager:
            ownership.track(kind, value, before, options.manager or "unknown", subresource)

    def _store_change(self, kind: Kind, value: Object) -> Record:
        metadata = value["metadata"]
        done = metadata.get("deletionTimestamp") and not metadata.get("finalizers")
        if done and kind.key == NAMESPACES:
            record = self._store.put(kind, value)
            self._finish_namespace(metadata["name"])
            return record
        if done and not metadata.get("deletionGracePeriodSeconds"):
            return self._remove(kind, value)
        record = self._store.put(kind, value)
        if kind.key == CRDS:
            self._serve(value)
        return record

    def _remove(self, kind: Kind, value: Object) -> Record:
        record = self._store.remove(kind, value)
        self._admission.forget(kind, value)
        if kind.key == CRDS:
            self._withdraw(value)
        elif kind.namespaced:
            self._finish_namespace(record.namespace)
        return record

    def _serve(self, crd: Object) -> None:
        self._withdraw_kinds(crd)
        for kind in crds.kinds_of(crd):
            self._registry.add(kind)

    def _withdraw(self, crd: Object) -> None:
        """The definition is gone, and with it every object of its kinds."""
        kinds = crds.kinds_of(crd)
        for record in self._store.table(kinds[0].key).in_order() if kinds else ():
            self._store.remove(kinds[0], record.object())
        self._withdraw_kinds(crd)

    def _withdraw_kinds(self, crd: Object) -> None:
        for kind in self._registry.of_key((crd["spec"]["group"], crd["spec"]["names"]["plural"])):
            self._registry.remove(kind)

    def _grace(self, kind: Kind, value: Object, body: Mapping[str, Any]) -> int | None:
        """Seconds that the object is to stay; None: it may go now."""
        if kind.key != PODS or not self._graceful_pods or not value["spec"].get("nodeName"):
            return None
        seconds = body.get("gracePeriodSeconds")
        grace = int(value["spec"].get("terminationGracePeriodSeconds", 30) if seconds is None else seconds)
        return grace or None

    def _delete_namespace(self, kind: Kind, old: Record, value: Object) -> tuple[Record, bool]:
        if value["metadata"].get("deletionTimestamp"):
            return old, False
        value["metadata"]["deletionTimestamp"] = timestamp()
        value.setdefault("status", {})["phase"] = "Terminating"
        record = self._store.put(kind, value)
        for contents in {inner.key: inner for inner in self._registry if inner.namespaced}.values():
            for item in self._store.table(contents.key).in_order(old.name):
                self.delete(contents, item, {}, Options())
        self._finish_namespace(old.name)
        return record, ("", old.name) not in self._store.table(NAMESPACES).records

    def _finish_namespace(self, name: str) -> None:
        """Remove a namespace that is being deleted once nothing is left in it."""
        record = self._store.table(NAMESPACES).records.get(("", name))
        if record is None or b'"deletionTimestamp"' not in record.data:
            return
        value = record.object()
        if not value["metadata"].get("deletionTimestamp") or value["metadata"].get("finalizers"):
            return
        if any(table.in_order(name) for _, table in self._store.tables()):
            return
        kind = self._registry.find("", "v1", "namespaces")
        if kind is not None:
            self._store.remove(kind, value)
