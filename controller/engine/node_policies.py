"""A node's view as a NodePolicy, and a NodePolicy as a node's view again.

The operator says what a node enforces, the agent compiles it: between the two stands this pair of functions,
and `ShareReader.read(node_policy_spec(share))` is `share`. Groups are named here, never listed: their members
travel in slices (`engine.group_slices`).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from controller.engine.costs import costs_of
from controller.engine.fitting import without_the_largest
from controller.engine.identity import digest
from controller.engine.rulesets import (
    LocalPod,
    NamedPort,
    NamedPortGroup,
    NodeView,
    PodGroup,
    PolicyRuleset,
    PortRange,
    RulesetId,
    RulesetRule,
)
from controller.engine.tiers import Action, Tier
from controller.engine.translate import groups_of
from controller.objects import resources
from controller.objects.addresses import AddressError, Cidr, format_address, parse_address, parse_cidr
from controller.objects.kinds import ContainerPort, Direction, IPBlock, Mode, Protocol
from controller.objects.labels import LabelSelector, Operator, Requirement
from controller.objects.resources import (
    Block,
    GroupReference,
    NamedPortReference,
    NodePod,
    NodePolicy,
    NodePolicySpec,
    PodPort,
    PortName,
    PortNumbers,
    Rule,
    Ruleset,
    SelectorTerm,
)

_TIERS = {Tier.ADMIN: "Admin", Tier.NETWORK_POLICY: "NetworkPolicy", Tier.BASELINE: "Baseline"}
_TIERS_BY_NAME = {name: tier for tier, name in _TIERS.items()}
_LAST_PORT = 65535
SPEC_MAX = 1_200_000
"""Bytes of a spec: etcd takes requests of 1.5 MiB, and status and metadata need room too."""
_CACHED = 1 << 16
"""Translations kept, of groups and of rulesets: more than a cluster of 10,000 policies has."""


Choice = TypeVar("Choice", Direction, Action, Operator, Mode)
Value = TypeVar("Value")


class PolicyVersion(NamedTuple):
    """Which edit of a policy a ruleset was made from."""

    uid: str
    generation: int


class ResourceError(Exception):
    """A custom resource that cannot be understood; the message names the field."""


# What the operator says


def node_policy_spec(share: NodeView, version_of: Callable[[RulesetId], PolicyVersion]) -> NodePolicySpec:
    """The spec for a node's share of the policies. O(pods x rulesets + rules).

    Members of groups in `share` are ignored. Equal shares give equal specs. A share that is too large for one
    object, or for the node's kernel, loses policies until it fits: `left_out` says which.
    """
    spec = _whole_spec(share, version_of)
    while (surplus := _size(spec) + sum((costs := costs_of(share)).values()) - SPEC_MAX) > 0:
        fewer = without_the_largest(share, surplus, _sizes(share, version_of, costs).__getitem__)
        if fewer is share:
            break
        share, spec = fewer, _whole_spec(fewer, version_of)
    return replace(spec, digest=spec_digest(spec))


def left_out(share: NodeView, spec: NodePolicySpec) -> list[RulesetId]:
    """The policies of a share that its spec has no room for: their pods are isolated without their rules."""
    written = {each.id for each in spec.rulesets}
    return [ruleset for ruleset in sorted(share.rulesets) if ruleset_key(ruleset) not in written]


def _whole_spec(share: NodeView, version_of: Callable[[RulesetId], PolicyVersion]) -> NodePolicySpec:
    return NodePolicySpec(
        digest="",
        pods=tuple(map(_pod, share.pods)),
        rulesets=tuple(
            _ruleset(ruleset, version_of(ruleset.id)) for _, ruleset in sorted(share.rulesets.items())
        ),
        groups=tuple(sorted(map(_group, share.groups), key=lambda each: each.id)),
        named_port_groups=tuple(sorted(map(_named_group, share.named_ports), key=lambda each: each.id)),
        addresses=share.known,
        pod_cidrs=tuple(sorted(map(str, share.pod_cidrs))),
        requires=("tiers",) if any(_needs_tiers(each) for each in share.rulesets.values()) else (),
        mode=share.mode.value,
    )


def _sizes(
    share: NodeView, version_of: Callable[[RulesetId], PolicyVersion], costs: Mapping[RulesetId, int]
) -> dict[RulesetId, int]:
    """How much room each ruleset needs: its rules, its groups, and its name at each of its pods."""
    pods = Counter(ruleset for pod in share.pods for ruleset in pod.rulesets)
    return {
        key: _size(_ruleset(ruleset, version_of(key)))
        + costs[key]
        + pods[key] * len(ruleset_key(key))
        + sum(
            _size(_named_group(ref) if isinstance(ref, NamedPortGroup) else _group(ref))
            for ref in groups_of(ruleset)
        )
        for key, ruleset in share.rulesets.items()
    }


def _size(part: msgspec.Struct) -> int:
    return len(msgspec.json.encode(part))


def spec_digest(spec: NodePolicySpec) -> str:
    """The digest of a spec, whatever digest stands in it."""
    return digest((msgspec.json.encode(replace(spec, digest="")).decode(),))


def published_mode(node_policies: Iterable[NodePolicy]) -> Mode:
    """The operator's mode, told from what it wrote: audit once every node is told so."""
    modes = {each.spec.mode for each in node_policies}
    return Mode.AUDIT if modes == {Mode.AUDIT.value} else Mode.ENFORCE


@lru_cache(maxsize=_CACHED)
def group_id(ref: PodGroup | NamedPortGroup) -> str:
    """`ref.id`, computed once: it costs 20 us, and every write of a node asks for all of its groups."""
    return ref.id


def ruleset_key(ruleset: RulesetId) -> str:
    """How a pod names its rulesets: `shop/allow-web/Ingress`; of other tiers their own name stands first."""
    home = f"{ruleset.namespace}/{ruleset.name}" if ruleset.namespace else ruleset.name
    if ruleset.tier is Tier.NETWORK_POLICY:
        return f"{home}/{ruleset.direction}"
    return f"{_TIERS[ruleset.tier]}:{ruleset.priority}:{home}/{ruleset.direction}"


def _needs_tiers(ruleset: PolicyRuleset) -> bool:
    return ruleset.id.tier is not Tier.NETWORK_POLICY or any(
        rule.action is not Action.ACCEPT for rule in ruleset.rules
    )


def _pod(pod: LocalPod) -> NodePod:
    return NodePod(
        namespace=pod.namespace,
        name=pod.name,
        ips=pod.ips,
        isolated=tuple(each.value for each in pod.isolated),
        rulesets=tuple(map(ruleset_key, pod.rulesets)),
        named_ports=tuple(PodPort(port.name, port.protocol.name, port.port) for port in pod.named_ports),
        audited=tuple(each.value for each in pod.audited),
    )


@lru_cache(maxsize=_CACHED)
def _ruleset(ruleset: PolicyRuleset, version: PolicyVersion) -> Ruleset:
    return Ruleset(
        id=ruleset_key(ruleset.id),
        tier=_TIERS[ruleset.id.tier],
        priority=ruleset.id.priority,
        namespace=ruleset.id.namespace,
        name=ruleset.id.name,
        direction=ruleset.id.direction.value,
        uid=version.uid,
        generation=version.generation,
        rules=tuple(map(_rule, ruleset.rules)),
    )


def _rule(rule: RulesetRule) -> Rule:
    return Rule(
        path=rule.path,
        action=rule.action.value,
        any_peer=rule.any_peer,
        groups=tuple(map(group_id, rule.groups)),
        blocks=tuple(Block(str(each.cidr), tuple(map(str, each.excepts))) for each in rule.blocks),
        any_port=rule.any_port,
        ports=tuple(PortNumbers(each.protocol.name, each.first, each.last) for each in rule.ports),
        named_ports=tuple(PortName(each.protocol.name, each.name) for each in rule.named),
    )


@lru_cache(maxsize=_CACHED)
def _group(group: PodGroup) -> GroupReference:
    return GroupReference(
        id=group_id(group),
        namespace=group.namespace,
        namespace_selector=None if group.namespace_selector is None else _terms(group.namespace_selector),
        pod_selector=_terms(group.pod_selector),
    )


def _named_group(named: NamedPortGroup) -> NamedPortReference:
    return NamedPortReference(group_id(named), _group(named.pods), named.name, named.protocol.name)


def _terms(selector: LabelSelector) -> tuple[SelectorTerm, ...]:
    return tuple(
        SelectorTerm(each.key, each.operator.value, tuple(each.values)) for each in selector.requirements
    )


# What the agent understands


class Share(NamedTuple):
    """A node's view with empty groups, and the id under which the members of each come."""

    view: NodeView
    groups: Mapping[PodGroup, str]
    named_ports: Mapping[NamedPortGroup, str]


class ShareReader:
    """Reads one NodePolicy again and again.

    Rulesets that did not change stay the very same objects, which is how the compiler sees that it need not
    compile them anew.
    """

    def __init__(self) -> None:
        self._rulesets: dict[Ruleset, PolicyRuleset] = {}
        self._groups: dict[GroupReference, PodGroup] = {}

    def read(self, node: str, spec: NodePolicySpec) -> Share:
        """The share that a spec states. O(pods x rulesets + rules that changed).

        Raises ResourceError for anything that cannot be understood whole: a rule less could be a hole.
        """
        unknown = sorted(set(spec.requires) - resources.FEATURES)
        if unknown:
            raise ResourceError(f"spec.requires: this version does not know {', '.join(unknown)}")
        self._groups = {each: self._groups.get(each) or _read_group(each) for each in spec.groups}
        groups = {each.id: group for each, group in self._groups.items()}
        named = {each.id: _read_named_group(each) for each in spec.named_port_groups}
        self._rulesets = {
            each: self._rulesets.get(each) or _read_ruleset(each, groups) for each in spec.rulesets
        }
        ids = {each.id: ruleset.id for each, ruleset in self._rulesets.items()}
        view = NodeView(
            node=node,
            pods=tuple(
                sorted(_read_pod(pod, ids, f"spec.pods[{index}]") for index, pod in enumerate(spec.pods))
            ),
            rulesets={ruleset.id: ruleset for ruleset in self._rulesets.values()},
            groups=dict.fromkeys(groups.values(), frozenset()),
            named_ports=dict.fromkeys(named.values(), frozenset()),
            known=_addresses(spec.addresses, "spec.addresses"),
            pod_cidrs=tuple(
                sorted(_cidr(text, f"spec.podCIDRs[{i}]") for i, text in enumerate(spec.pod_cidrs))
            ),
            mode=_one_of(Mode, spec.mode, "spec.mode"),
        )
        return Share(
            view,
            {group: key for key, group in groups.items()},
            {group: key for key, group in named.items()},
        )


def _read_pod(pod: NodePod, ids: Mapping[str, RulesetId], path: str) -> LocalPod:
    if both := sorted({*pod.isolated} & {*pod.audited}):
        raise ResourceError(f"{path}: {', '.join(both)} is isolated, and audited besides")
    return LocalPod(
        namespace=pod.namespace,
        name=pod.name,
        ips=_addresses(pod.ips, f"{path}.ips"),
        isolated=tuple(
            _one_of(Direction, text, f"{path}.isolated[{i}]") for i, text in enumerate(pod.isolated)
        ),
        rulesets=tuple(
            _known(ids, key, f"{path}.rulesets[{index}]") for index, key in enumerate(pod.rulesets)
        ),
        named_ports=tuple(
            ContainerPort(port.name, _protocol(port.protocol, path), _port(port.port, path))
            for port in pod.named_ports
        ),
        audited=tuple(_one_of(Direction, text, f"{path}.audited[{i}]") for i, text in enumerate(pod.audited)),
    )


def _read_ruleset(ruleset: Ruleset, groups: Mapping[str, PodGroup]) -> PolicyRuleset:
    path = f"spec.rulesets[{ruleset.id}]"
    return PolicyRuleset(
        RulesetId(
            tier=_known(_TIERS_BY_NAME, ruleset.tier, f"{path}.tier"),
            priority=ruleset.priority,
            namespace=ruleset.namespace,
            name=ruleset.name,
            direction=_one_of(Direction, ruleset.direction, f"{path}.direction"),
        ),
        tuple(_read_rule(rule, groups, f"{path}.rules[{index}]") for index, rule in enumerate(ruleset.rules)),
    )


def _read_rule(rule: Rule, groups: Mapping[str, PodGroup], path: str) -> RulesetRule:
    if rule.any_peer and (rule.groups or rule.blocks):
        raise ResourceError(f"{path}: anyPeer, and peers besides")
    if rule.any_port and (rule.ports or rule.named_ports):
        raise ResourceError(f"{path}: anyPort, and ports besides")
    return RulesetRule(
        path=rule.path,
        action=_one_of(Action, rule.action, f"{path}.action"),
        any_peer=rule.any_peer,
        groups=tuple(_known(groups, key, f"{path}.groups[{index}]") for index, key in enumerate(rule.groups)),
        blocks=tuple(_read_block(block, f"{path}.blocks[{i}]") for i, block in enumerate(rule.blocks)),
        any_port=rule.any_port,
        ports=tuple(_read_range(each, f"{path}.ports[{index}]") for index, each in enumerate(rule.ports)),
        named=tuple(NamedPort(_protocol(each.protocol, path), each.name) for each in rule.named_ports),
    )


def _read_block(block: Block, path: str) -> IPBlock:
    cidr = _cidr(block.cidr, f"{path}.cidr")
    excepts = tuple(_cidr(text, f"{path}.except[{index}]") for index, text in enumerate(block.excepts))
    if any(each.family != cidr.family for each in excepts):
        raise ResourceError(f"{path}.except: of another family than {block.cidr}")
    return IPBlock(cidr, excepts)


def _read_range(ports: PortNumbers, path: str) -> PortRange:
    first, last = _port(ports.first, f"{path}.first"), _port(ports.last, f"{path}.last")
    if last < first:
        raise ResourceError(f"{path}: last {last} is before first {first}")
    return PortRange(_protocol(ports.protocol, f"{path}.protocol"), first, last)


def _read_group(group: GroupReference) -> PodGroup:
    path = f"spec.groups[{group.id}]"
    if bool(group.namespace) is (group.namespace_selector is not None):
        raise ResourceError(f"{path}: needs one of namespace and namespaceSelector, and has not one")
    selector = group.namespace_selector
    return PodGroup(
        group.namespace,
        None if selector is None else _selector(selector, f"{path}.namespaceSelector"),
        _selector(group.pod_selector, f"{path}.podSelector"),
    )


def _read_named_group(group: NamedPortReference) -> NamedPortGroup:
    path = f"spec.namedPortGroups[{group.id}].protocol"
    return NamedPortGroup(_read_group(group.pods), group.name, _protocol(group.protocol, path))


def _selector(terms: Iterable[SelectorTerm], path: str) -> LabelSelector:
    return LabelSelector(
        tuple(
            Requirement(each.key, _one_of(Operator, each.operator, f"{path}[{index}].operator"), each.values)
            for index, each in enumerate(terms)
        )
    )


def _addresses(texts: Iterable[str], path: str) -> tuple[str, ...]:
    """As they are, if they are canonical: they go into sets, and are compared, as they stand."""
    texts = tuple(texts)
    for index, text in enumerate(texts):
        if not is_canonical(text):
            raise ResourceError(f"{path}[{index}]: {text!r} is no address in canonical form")
    return texts


def is_canonical(text: str) -> bool:
    """Whether a text is an address as podgate writes it."""
    try:
        return format_address(*parse_address(text)) == text
    except AddressError:
        return False


def _cidr(text: str, path: str) -> Cidr:
    try:
        return parse_cidr(text)
    except AddressError as error:
        raise ResourceError(f"{path}: {text!r}: {error}") from error


def _protocol(name: str, path: str) -> Protocol:
    try:
        return Protocol[name]
    except KeyError:
        raise ResourceError(f"{path}: {name!r} is no protocol that podgate knows") from None


def _port(number: int, path: str) -> int:
    if not 0 <= number <= _LAST_PORT:
        raise ResourceError(f"{path}: {number} is no port")
    return number


def _one_of(kind: type[Choice], text: str, path: str) -> Choice:
    try:
        return kind(text)
    except ValueError:
        raise ResourceError(f"{path}: {text!r} is none of {', '.join(kind)}") from None


def _known(values: Mapping[str, Value], key: str, path: str) -> Value:
    try:
        return values[key]
    except KeyError:
        raise ResourceError(f"{path}: {key!r} is nowhere in this object") from None
