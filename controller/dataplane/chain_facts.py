"""What a plan asks of the chains: found once for each chain, however many plans it is in.

A node has some hundred chains, and a change makes few of them anew. So what was found of a chain is kept as
long as the chain is in use, and known again by its being the very same object. Pure.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property

from controller.dataplane import names
from controller.dataplane.ruleset import (
    AddressMatch,
    Chain,
    ConnmarkMatch,
    Goto,
    Jump,
    Return,
    Rule,
    Ruleset,
    SetConnmark,
    SetMatch,
    Side,
)
from controller.objects.addresses import format_address

Place = tuple[Side, int]
"""Where a pod is dispatched: by which side of the packet, at which address."""

Decision = tuple[tuple[Rule, ...], ...]
"""The rules that decide about a pod, chain by chain."""


class ChainFacts:
    """One chain."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain

    @cached_property
    def asked(self) -> frozenset[str]:
        """The sets that its rules ask."""
        return frozenset(match.name for _, match in self._lookups())

    @cached_property
    def denying(self) -> frozenset[str]:
        """Those of them asked by a rule that does not allow: there, additions take away."""
        return frozenset(match.name for rule, match in self._lookups() if not isinstance(rule.target, Return))

    @cached_property
    def dispatched(self) -> tuple[tuple[Place, str], ...]:
        """The places it sends to profiles, and to which."""
        return tuple(found for rule in self.chain.rules if (found := _dispatch(rule)) is not None)

    @cached_property
    def following(self) -> tuple[str, ...]:
        """The profiles that it goes on to, if it is one itself."""
        targets = (rule.target for rule in self.chain.rules)
        return tuple(
            target.chain for target in targets if isinstance(target, Goto) and names.is_profile(target.chain)
        )

    @cached_property
    def unmarked(self) -> tuple[Rule, ...]:
        """Its rules without their marks: a new generation alone is no change of meaning."""
        return tuple(map(_without_marks, self.chain.rules))

    @cached_property
    def fixed(self) -> tuple[Rule, ...]:
        """Those of them that do not lead to buckets, which come and go with pods."""
        return tuple(rule for rule in self.unmarked if not _leads_to_bucket(rule))

    def _lookups(self) -> Iterator[tuple[Rule, SetMatch]]:
        return (
            (rule, match)
            for rule in self.chain.rules
            for match in rule.matches
            if isinstance(match, SetMatch)
        )


class Contents:
    """A ruleset: who is dispatched where, to which rules, and which sets those rules ask."""

    def __init__(self, ruleset: Ruleset, facts: Iterable[ChainFacts]) -> None:
        self.ruleset = ruleset
        self._family = ruleset.family
        self._facts = {each.chain.name: each for each in facts}
        self._decisions: dict[str, Decision] = {}

    @cached_property
    def _profiles(self) -> dict[Place, tuple[str, ...]]:
        found: dict[Place, tuple[str, ...]] = {}
        for each in self._facts.values():
            for place, profile in each.dispatched:
                found[place] = (*found.get(place, ()), profile)
        return found

    @cached_property
    def asked(self) -> frozenset[str]:
        """The sets that some rule asks."""
        return frozenset[str]().union(*(each.asked for each in self._facts.values()))

    @cached_property
    def denying(self) -> frozenset[str]:
        """The sets that some rule asks in order to deny."""
        return frozenset[str]().union(*(each.denying for each in self._facts.values()))

    def dispatch(self) -> dict[Place, tuple[Decision, ...]]:
        """For every dispatched place the rules that decide there.

        Equal rules are equal decisions, whatever their chain's name.
        """
        return {place: tuple(map(self._decision, profiles)) for place, profiles in self._profiles.items()}

    def addresses(self) -> frozenset[str]:
        """The addresses of the pods that are dispatched."""
        return frozenset(format_address(self._family, value) for _, value in self._profiles)

    def sets_of(self, place: Place) -> frozenset[str]:
        """The sets that the rules of a place ask."""
        chains = (name for profile in self._profiles[place] for name in self._reachable(profile))
        return frozenset[str]().union(*(self._facts[name].asked for name in chains))

    def fixed(self) -> dict[str, tuple[Rule, ...]]:
        """Every rule that is no pod's, without its marks."""
        return {
            name: each.fixed
            for name, each in self._facts.items()
            if not names.is_profile(name) and not names.is_bucket(name)
        }

    def _decision(self, profile: str) -> Decision:
        found = self._decisions.get(profile)
        if found is None:
            found = tuple(self._facts[name].chain.rules for name in self._reachable(profile))
            self._decisions[profile] = found
        return found

    def _reachable(self, profile: str) -> Iterator[str]:
        yield profile
        for following in self._facts[profile].following:
            yield from self._reachable(following)


class FactsKept:
    """The facts of chains, and the contents of rulesets, that are in use."""

    def __init__(self) -> None:
        self._kept: dict[int, ChainFacts] = {}
        self._contents: dict[int, Contents] = {}

    def of(self, chain: Chain) -> ChainFacts:
        """Of one chain."""
        found = self._kept.get(id(chain))
        if found is None or found.chain is not chain:
            found = self._kept[id(chain)] = ChainFacts(chain)
        return found

    def contents(self, ruleset: Ruleset) -> Contents:
        """Of all chains of a ruleset."""
        found = self._contents.get(id(ruleset))
        if found is None or found.ruleset is not ruleset:
            found = self._contents[id(ruleset)] = Contents(ruleset, map(self.of, ruleset.chains))
        return found

    def same_but_marks(self, old: Ruleset, new: Ruleset) -> bool:
        """Whether the chains are the same but for their marks."""
        return len(old.chains) == len(new.chains) and all(
            before is after or (before.name == after.name and self.only_marks_differ(before, after))
            for before, after in zip(old.chains, new.chains, strict=True)
        )

    def only_marks_differ(self, old: Chain | None, new: Chain) -> bool:
        """Whether one chain is the other, but for its marks."""
        return old is new or (old is not None and self.of(old).unmarked == self.of(new).unmarked)

    def keep(self, *rulesets: Ruleset) -> None:
        """Forget all that is not of these."""
        chains = {id(chain) for ruleset in rulesets for chain in ruleset.chains}
        self._kept = {each: self._kept[each] for each in chains if each in self._kept}
        self._contents = {
            id(ruleset): self._contents[id(ruleset)] for ruleset in rulesets if id(ruleset) in self._contents
        }


def _dispatch(rule: Rule) -> tuple[Place, str] | None:
    """The place of one pod and the profile that a rule sends it to."""
    if len(rule.matches) == 1 and isinstance(rule.target, Goto | Jump):
        (match,) = rule.matches
        if isinstance(match, AddressMatch) and names.is_profile(rule.target.chain):
            return (match.side, match.value), rule.target.chain
    return None


def _leads_to_bucket(rule: Rule) -> bool:
    return isinstance(rule.target, Goto) and names.is_bucket(rule.target.chain)


def _without_marks(rule: Rule) -> Rule:
    matches = tuple(
        ConnmarkMatch(0, match.mask, match.negated) if isinstance(match, ConnmarkMatch) else match
        for match in rule.matches
    )
    target = SetConnmark(0, rule.target.mask) if isinstance(rule.target, SetConnmark) else rule.target
    return Rule(matches, target, rule.comment)
