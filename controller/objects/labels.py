"""Label selectors as canonical values.

Two selectors that are written differently and ask the same are one value here (`matchLabels: {a: b}`
and `a In [b]`), so that everything built on a selector, a peer group above all, is shared by its users.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from msgspec import Struct


class Operator(StrEnum):
    """How a requirement compares a label (rule 2.16)."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class Requirement(Struct, frozen=True, order=True):
    """One condition on one label key. `values` is sorted, without duplicates, empty for (DoesNot)Exist."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a label set meets this condition; `NotIn` is met by an absent key (rule 2.16)."""
        if self.operator is Operator.IN:
            return labels.get(self.key) in self.values
        if self.operator is Operator.NOT_IN:
            return labels.get(self.key) not in self.values
        return (self.key in labels) == (self.operator is Operator.EXISTS)

    def __str__(self) -> str:
        if self.operator is Operator.IN and len(self.values) == 1:
            return f"{self.key}={self.values[0]}"
        if self.operator is Operator.IN:
            return f"{self.key} in ({','.join(self.values)})"
        if self.operator is Operator.NOT_IN and len(self.values) == 1:
            return f"{self.key}!={self.values[0]}"
        if self.operator is Operator.NOT_IN:
            return f"{self.key} notin ({','.join(self.values)})"
        return self.key if self.operator is Operator.EXISTS else f"!{self.key}"


class LabelSelector(Struct, frozen=True, order=True):
    """All requirements must hold; none at all selects everything. Build it with `LabelSelector.of`."""

    requirements: tuple[Requirement, ...] = ()

    @classmethod
    def of(
        cls,
        match_labels: Mapping[str, str] | None = None,
        expressions: Iterable[Requirement] = (),
    ) -> "LabelSelector":
        """Canonical form: matchLabels become `In`, values and requirements sorted, duplicates dropped."""
        found = {Requirement(key, Operator.IN, (value,)) for key, value in (match_labels or {}).items()}
        found.update(
            Requirement(item.key, item.operator, tuple(sorted(set(item.values)))) for item in expressions
        )
        return cls(tuple(sorted(found)))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a label set meets every requirement."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    @property
    def selects_everything(self) -> bool:
        """True for `{}`."""
        return not self.requirements

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements)) or "{}"


EVERYTHING = LabelSelector()
"""The selector `{}`."""

NAME_LABEL = "kubernetes.io/metadata.name"
"""The label that the API server gives every namespace, and nobody can change: its name (rule 2.17)."""
