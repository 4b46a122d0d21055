"""What an API server would hold of our own objects, without the server: steps are done to it at once.

`written` are the names in order of their writes. `node_view` is what an agent would make of it, by the same
readers that agents use.
"""

from itertools import count
from typing import NamedTuple

from msgspec.structs import replace

from controller.engine.group_slices import GroupMembers
from controller.engine.node_policies import ShareReader, spec_digest
from controller.engine.rulesets import NamedPortGroup, NodeView
from controller.objects.resources import NodePolicySpec, PeerGroupSliceSpec
from controller.operator.held import UNKNOWN, HeldNode, HeldSlice, slice_digest
from controller.operator.own_watch import place_of
from controller.operator.publication import Publication
from controller.operator.steps import Kind, Step, named_groups
from controller.operator.worklist import Moment

Spec = NodePolicySpec | PeerGroupSliceSpec


class Object(NamedTuple):
    spec: Spec
    label: str
    uid: str
    version: str


class Server:
    def __init__(self) -> None:
        self.objects: dict[tuple[Kind, str], Object] = {}
        self.written: list[str] = []
        self.drops_addresses = False
        """As with a CustomResourceDefinition that does not know `spec.addresses`."""
        self._versions = count(1)

    def execute(self, step: Step) -> tuple[str, str]:
        """Do a step; its uid and version."""
        self.written.append(step.name)
        if step.spec is None:
            self.objects.pop((step.kind, step.name), None)
            return "", ""
        return self.put(step.kind, step.name, step.spec, step.group)

    def put(self, kind: Kind, name: str, spec: Spec, label: str = "") -> tuple[str, str]:
        known = self.objects.get((kind, name))
        if self.drops_addresses and isinstance(spec, NodePolicySpec):
            spec = replace(spec, addresses=())
        if known is not None and (known.spec, known.label) == (spec, label):
            return known.uid, known.version
        uid = known.uid if known else f"uid-{next(self._versions)}"
        version = str(next(self._versions))
        self.objects[kind, name] = Object(spec, label, uid, version)
        return uid, version

    def tell_all(self, publication: Publication, at: Moment) -> None:
        """What a list would bring."""
        for kind, name in list(self.objects):
            self.tell(publication, kind, name, at)

    def tell(self, publication: Publication, kind: Kind, name: str, at: Moment) -> bool:
        """What a watch would bring about one object that stands."""
        spec, label, uid, version = self.objects[kind, name]
        if isinstance(spec, NodePolicySpec):
            digest = spec.digest if spec_digest(spec) == spec.digest else UNKNOWN
            held = HeldNode(uid, version, digest, named_groups(spec))
            return publication.node_seen(name, held, at)
        members = (*spec.addresses, *((each.address, each.protocol, each.port) for each in spec.endpoints))
        seen = HeldSlice(uid, version, slice_digest(label, spec), spec.count, members)  # type: ignore[arg-type]
        return publication.slice_seen(place_of(name), seen, at)

    def remove(self, publication: Publication, kind: Kind, name: str, at: Moment) -> bool:
        """Somebody deletes an object."""
        uid = self.objects.pop((kind, name)).uid
        if kind is Kind.NODE_POLICY:
            return publication.node_gone(name, uid, at)
        return publication.slice_gone(place_of(name), uid, at)

    def names(self, kind: Kind) -> set[str]:
        return {name for each, name in self.objects if each is kind}

    def groups(self) -> dict[str, GroupMembers]:
        """Every group, as agents put it together."""
        found: dict[str, GroupMembers] = {}
        for (kind, _), (spec, label, *_rest) in self.objects.items():
            if kind is Kind.SLICE and isinstance(spec, PeerGroupSliceSpec):
                found.setdefault(label, GroupMembers()).put(spec)
        return found

    def incomplete(self, spec: NodePolicySpec) -> set[str]:
        """The groups that a NodePolicy names and agents do not find complete."""
        groups = self.groups()
        return {group for group in named_groups(spec) if group not in groups or not groups[group].is_complete}

    def node_view(self, node: str) -> NodeView:
        """All that an agent would enforce."""
        spec = self.objects[Kind.NODE_POLICY, node].spec
        assert isinstance(spec, NodePolicySpec)
        share = ShareReader().read(node, spec)
        groups = self.groups()
        members = {ref: groups[key].members() for ref, key in share.groups.items()}
        named: dict[NamedPortGroup, object] = {
            ref: groups[key].members() for ref, key in share.named_ports.items()
        }
        return NodeView(
            node=node,
            pods=share.view.pods,
            rulesets=share.view.rulesets,
            groups=members,  # type: ignore[arg-type]
            named_ports=named,  # type: ignore[arg-type]
            known=share.view.known,
            pod_cidrs=share.view.pod_cidrs,
        )
