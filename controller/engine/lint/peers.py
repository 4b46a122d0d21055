"""Peers that match nobody, and peers that match others than they seem to."""

from collections.abc import Iterator
from itertools import pairwise

from msgspec import Struct

from controller.engine.evaluate import peer_path
from controller.engine.lint.context import Context, labels_are_known
from controller.engine.lint.coverage import contradiction, pod_selector
from controller.engine.lint.lookalikes import Found, matching, pod_count
from controller.engine.lint.notes import about_policy, as_note, item_path, rules_of
from controller.engine.lint.similarity import close_text, closest_labels, typing_error
from controller.engine.lint.wording import asked, listed, names_of
from controller.objects.findings import Finding
from controller.objects.kinds import Direction, NetworkPolicy, Peer, PolicyRule
from controller.objects.labels import EVERYTHING, NAME_LABEL, LabelSelector, Operator, Requirement
from controller.objects.names import counted, shown_key

_EVERYWHERE = frozenset({"default", "kube-node-lease", "kube-public", "kube-system"})


class _Place(Struct, frozen=True):
    """One selector peer of one rule."""

    policy: NetworkPolicy
    direction: Direction
    rule: PolicyRule
    peer: Peer

    def finding(self, code: str, message: str, remedy: str = "") -> Finding:
        """A finding on this peer."""
        path = peer_path(self.direction, self.rule, self.peer)
        return about_policy(self.policy, code, path, message, remedy)


def check_peers(context: Context) -> Iterator[Finding]:
    """peer-matches-no-pod, -no-namespace, peer-in-other-namespace, peer-host-network, selector-never-matches.

    Rules 2.12 to 2.17 and 2.43. O(peers), and O(all lookalikes) for each that matches nobody.
    """
    for policy in context.policies:
        for direction, rule in rules_of(policy):
            for peer in rule.peers or ():
                if peer.ip_block is None:
                    yield from _check_peer(context, _Place(policy, direction, rule, peer))


def check_alternatives(context: Context) -> Iterator[Finding]:
    """two-items-are-or: a namespaceSelector and a podSelector side by side are alternatives (rule 2.14)."""
    for policy in context.policies:
        for direction, rule in rules_of(policy):
            peers = rule.peers or ()
            for left, right in pairwise(peers):
                yield from _check_neighbours(context, _Place(policy, direction, rule, right), left)


def _check_peer(context: Context, place: _Place) -> Iterator[Finding]:
    policy, peer = place.policy, place.peer
    for selector, what in ((peer.namespace_selector, "namespace"), (peer.pod_selector, "pod")):
        if selector is not None and (key := contradiction(selector)):
            message = f"no {what} can ever match {asked(selector)}: it asks the label {key} for two things"
            remedy = "all requirements of a selector must hold at once; mend one of them"
            yield place.finding("selector-never-matches", message, remedy)
            return
    reach = context.reach(policy, peer)
    if not reach and not _is_in_every_cluster(peer):
        finding = _no_namespace(context, place)
        yield finding if any(map(labels_are_known, context.cluster.namespaces)) else as_note(finding)
    elif reach and context.has_pods and not context.members(policy, peer):
        yield _no_pod(context, place, reach)


def _no_namespace(context: Context, place: _Place) -> Finding:
    """Nobody's namespace; for the caller to soften where the input has no Namespace object at all."""
    selector = place.peer.namespace_selector or EVERYTHING
    message = f"no namespace in the input matches {asked(selector)}"
    names = [namespace.name for namespace in context.cluster.namespaces]
    wanted = _asked_names(selector)
    if wanted:
        meant = next(filter(None, (typing_error(name, names) for name in wanted)), "")
        if meant:
            return place.finding("peer-matches-no-namespace", message, f"did you mean {meant}?")
        remedy = "add its manifests, so that the peer can be checked, or mend the name"
        return as_note(place.finding("peer-matches-no-namespace", message, remedy))
    unknown = [found.name for found in context.cluster.namespaces if not labels_are_known(found)]
    meant = _meant_label(context, selector)
    none_known = len(unknown) == len(context.cluster.namespaces)
    if not meant and (none_known or not context.live.keys().isdisjoint(unknown)):
        remedy = f"add the Namespace manifests of {listed(unknown)}: their labels are not known"
        return as_note(place.finding("peer-matches-no-namespace", message, remedy))
    hint = meant or _labels_there_are(context, selector)
    return place.finding("peer-matches-no-namespace", message, hint)


def _is_in_every_cluster(peer: Peer) -> bool:
    """Whether a peer asks for namespaces that manifests need not define."""
    names = _asked_names(peer.namespace_selector or EVERYTHING)
    return bool(names) and _EVERYWHERE.issuperset(names)


def _asked_names(selector: LabelSelector) -> tuple[str, ...]:
    """The names of a selector that asks for namespaces by nothing but their name."""
    requirements = selector.requirements
    by_name = len(requirements) == 1 and requirements[0].key == NAME_LABEL
    return requirements[0].values if by_name and requirements[0].operator is Operator.IN else ()


def _meant_label(context: Context, selector: LabelSelector) -> str:
    """The label that was probably meant, or "" where none comes near."""
    namespaces = context.cluster.namespaces
    names = {namespace.name for namespace in namespaces}
    for missed in _missed(context, selector):
        if missed.key != NAME_LABEL and (named := names.intersection(missed.values)):
            return f"to select a namespace by name write {NAME_LABEL}: {min(named)}"
        values = {found.labels[missed.key] for found in namespaces if missed.key in found.labels}
        for wanted in missed.values:
            if close := close_text(wanted, values):
                return f"did you mean {missed.key}={shown_key(close)}?"
        keys = {key for namespace in namespaces for key in namespace.labels}
        if not values and (close := close_text(missed.key, keys)):
            return f"did you mean the label {shown_key(close)}?"
    return ""


def _labels_there_are(context: Context, selector: LabelSelector) -> str:
    """What the namespaces have instead."""
    for missed in _missed(context, selector):
        values = {
            found.labels[missed.key] for found in context.cluster.namespaces if missed.key in found.labels
        }
        if values:
            return f"the label {missed.key} has the values {listed(map(shown_key, sorted(values)))} there"
        return f"no namespace has a label {missed.key}"
    return "no namespace meets all of its requirements at once"


def _missed(context: Context, selector: LabelSelector) -> Iterator[Requirement]:
    """The requirements that no namespace meets."""
    for requirement in selector.requirements:
        if not any(requirement.matches(namespace.labels) for namespace in context.cluster.namespaces):
            yield requirement


def _no_pod(context: Context, place: _Place, reach: tuple[str, ...]) -> Finding:
    peer = place.peer
    selector = pod_selector(peer)
    where = _where(place, reach)
    if on_host := matching(context.on_host, reach, selector):
        message = (
            f"{names_of(on_host)} would match, but runs on the host network: selectors never find such pods"
        )
        remedy = "allow the addresses of its nodes with an ipBlock"
        return place.finding("peer-host-network", message, remedy)
    elsewhere = () if selector.selects_everything else context.elsewhere(selector, reach)
    if elsewhere and peer.namespace_selector is None:
        return _other_namespace(context, place, elsewhere)
    if not any(context.live.get(namespace) for namespace in reach):
        remedy = "add the manifests of the pods there, so that the peer can be checked"
        message = f"{where} has no pods in the input"
        return as_note(place.finding("peer-matches-no-pod", message, remedy))
    message = f"no pod of {where} matches {asked(selector)}"
    if elsewhere:
        return place.finding("peer-matches-no-pod", message, f"it would match {names_of(elsewhere)}")
    candidates = tuple(alike for namespace in reach for alike in context.live.get(namespace, ()))
    return place.finding("peer-matches-no-pod", message, closest_labels(selector, candidates))


def _where(place: _Place, reach: tuple[str, ...]) -> str:
    if place.peer.namespace_selector is None:
        return f"namespace {place.policy.namespace}, where a podSelector alone looks,"
    return f"namespace{'s' if len(reach) > 1 else ''} {listed(reach)}"


def _other_namespace(context: Context, place: _Place, elsewhere: Found) -> Finding:
    """The pods meant live elsewhere, and a podSelector alone never looks there (rule 2.12)."""
    spaces = sorted({alike.namespace for alike in elsewhere})
    count = counted(pod_count(elsewhere), "pod")
    message = (
        f"a podSelector alone looks only in namespace {place.policy.namespace}, where nothing matches "
        f"{asked(pod_selector(place.peer))}; {count} of {listed(spaces)} would"
    )
    if _joined_neighbour(context, place, frozenset(spaces)):
        remedy = (
            "the namespaceSelector next to it is an item of its own: join the two, without the second '-'"
        )
        return place.finding("peer-in-other-namespace", message, remedy)
    label = f"{NAME_LABEL}: {spaces[0]}"
    remedy = f"did you mean this podSelector with namespaceSelector: {{matchLabels: {{{label}}}}}?"
    return place.finding("peer-in-other-namespace", message, remedy)


def _joined_neighbour(context: Context, place: _Place, spaces: frozenset[str]) -> bool:
    """Whether the item above or below is a bare namespaceSelector for where the pods are."""
    for other in place.rule.peers or ():
        if abs(other.index - place.peer.index) == 1 and _is_namespaces_only(other):
            return not spaces.isdisjoint(context.reach(place.policy, other))
    return False


def _check_neighbours(context: Context, place: _Place, left: Peer) -> Iterator[Finding]:
    right = place.peer
    if not (_is_namespaces_only(left) and _is_pods_only(right)):
        return
    if not context.members(place.policy, right):
        return  # check_peers has more to say
    message = (
        "two items of a list are alternatives: every pod of the namespaces "
        f"{asked(left.namespace_selector or EVERYTHING)}, and pods {asked(pod_selector(right))} "
        f"of namespace {place.policy.namespace}"
    )
    remedy = "where both must hold, make them one item: remove the '-' before podSelector"
    path = item_path(place.direction, place.rule, right)
    yield about_policy(place.policy, "two-items-are-or", path, message, remedy)


def _is_namespaces_only(peer: Peer) -> bool:
    return peer.namespace_selector is not None and peer.pod_selector is None


def _is_pods_only(peer: Peer) -> bool:
    return peer.pod_selector is not None and peer.namespace_selector is None
