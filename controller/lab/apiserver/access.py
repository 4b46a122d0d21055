"""Who asks (bearer tokens) and what they may do (RBAC), with a record of every decision.

The record is there for tests: that a component never met a 403, holds no permission it never used, and never
wrote to somebody else's objects.
"""

import csv
import io
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from controller.lab.apiserver.faults import Faults
from controller.lab.apiserver.kinds import RBAC_GROUP
from controller.lab.apiserver.paths import Target
from controller.lab.apiserver.status import ApiError
from controller.lab.apiserver.store import Object, Store

MASTERS = "system:masters"
_AUTHENTICATED = "system:authenticated"
_RECORDS = 200_000


class User(Struct, frozen=True):
    """Somebody who asks."""

    name: str
    groups: tuple[str, ...] = ()


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


class Audited(Struct, frozen=True):
    """One request that was answered. `seconds`: when, since the epoch."""

    user: str
    agent: str
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    seconds: float

    @property
    def target(self) -> Target:
        """What it was about; the version is not recorded."""
        return Target(self.group, "", self.resource, self.namespace, self.name, self.subresource)


class Grant(Struct, frozen=True, order=True):
    """One permission of a user, and whether an audited request has used it. `namespace` "": everywhere."""

    verb: str
    group: str
    resource: str
    namespace: str
    used: bool


def read_tokens(text: str) -> dict[str, User]:
    """A static token file as kube-apiserver reads it: lines of `token,user,uid,"group,group"`."""
    tokens = {}
    for row in csv.reader(io.StringIO(text)):
        if not row or row[0].startswith("#"):
            continue
        if len(row) < 3:
            raise ValueError(f"token file: {len(row)} columns in a line; write TOKEN,USER,UID[,GROUPS]")
        groups = tuple(
            group.strip() for group in (row[3] if len(row) > 3 else "").split(",") if group.strip()
        )
        tokens[row[0].strip()] = User(row[1].strip(), groups)
    return tokens


def service_account(namespace: str, name: str) -> User:
    """The user that a pod with a service account is."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    return User(f"system:serviceaccount:{namespace}:{name}", groups)


class Access:
    """Tokens, rules and the record. Without tokens everybody may do everything."""

    def __init__(self, store: Store, faults: Faults, tokens: Mapping[str, User], *, rbac: bool) -> None:
        self._store = store
        self._faults = faults
        self.tokens = dict(tokens)
        self._rbac = rbac
        self._rules: dict[User, list[_Rule]] = {}
        self._rules_of: tuple[int, ...] = ()
        self.audit: deque[Audited] = deque(maxlen=_RECORDS)

    def authenticate(self, header: str) -> User:
        """The user of an Authorization header. Raises ApiError 401."""
        token = header.removeprefix("Bearer ").strip() if header.startswith("Bearer ") else ""
        if token and self._faults.rejects(token):
            raise _unauthorized()
        if not self.tokens:
            return ANONYMOUS
        user = self.tokens.get(token)
        if user is None:
            raise _unauthorized()
        return User(user.name, (*user.groups, _AUTHENTICATED))

    def user_of(self, header: str) -> User:
        """Whom a header names, for the record: nobody is refused here."""
        return self.tokens.get(header.removeprefix("Bearer ").strip(), ANONYMOUS)

    def authorize(self, user: User, verb: str, target: Target) -> None:
        """Raises ApiError 403 when RBAC is on and no rule allows it."""
        if not self._rbac or MASTERS in user.groups:
            return
        if any(rule.allows(verb, target) for rule in self._rules_for(user)):
            return
        resource = f"{target.plural}/{target.subresource}" if target.subresource else target.plural
        named = f' "{target.name}"' if target.name else ""
        place = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
        full = f"{resource}.{target.group}" if target.group else resource
        message = (
            f'{full}{named} is forbidden: User "{user.name}" cannot {verb} resource "{resource}" in API '
            f'group "{target.group}" {place}'
        )
        details = {"name": target.name, "group": target.group, "kind": target.plural}
        raise ApiError(403, "Forbidden", message, details)

    def record(self, user: User, agent: str, verb: str, target: Target, code: int) -> None:
        """Remember an answer."""
        self.audit.append(
            Audited(
                user=user.name,
                agent=agent,
                verb=verb,
                group=target.group,
                resource=target.plural,
                subresource=target.subresource,
                namespace=target.namespace,
                name=target.name,
                code=code,
                seconds=time.time(),
            )
        )

    def grants(self, user: User) -> list[Grant]:
        """Every permission of a user as (verb, group, resource), each with whether it was used."""
        done = [
            (record.verb, record.target)
            for record in self.audit
            if record.user == user.name and record.code != 403
        ]
        return sorted(
            {
                Grant(
                    verb,
                    group,
                    resource,
                    rule.namespace,
                    any(single.allows(*request) for request in done),
                )
                for rule in self._rules_for(User(user.name, (*user.groups, _AUTHENTICATED)))
                for verb, group, resource, single in rule.split()
            }
        )

    def _rules_for(self, user: User) -> "list[_Rule]":
        """The rules of a user, kept until an object of RBAC changes."""
        tables = [self._store.table((RBAC_GROUP, plural)) for plural in _TABLES]
        state = tuple(table.revision for table in tables)
        if state != self._rules_of:
            self._rules.clear()
            self._rules_of = state
        if user not in self._rules:
            self._rules[user] = list(_rules(self._store, user))
        return self._rules[user]


_TABLES = ("clusterroles", "roles", "clusterrolebindings", "rolebindings")


class _Rule(Struct, frozen=True):
    """A PolicyRule, and the namespace it counts in ("": all, and cluster scope)."""

    namespace: str
    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    names: frozenset[str]

    def allows(self, verb: str, target: Target) -> bool:
        resource = f"{target.plural}/{target.subresource}" if target.subresource else target.plural
        return (
            (not self.namespace or self.namespace == target.namespace)
            and not self.verbs.isdisjoint((verb, "*"))
            and not self.groups.isdisjoint((target.group, "*"))
            and not self.resources.isdisjoint((resource, "*", f"*/{target.subresource}"))
            and (not self.names or target.name in self.names)
        )

    def split(self) -> "Iterator[tuple[str, str, str, _Rule]]":
        for verb in self.verbs:
            for group in self.groups:
                for resource in self.resources:
                    single = _Rule(
                        self.namespace,
                        frozenset((verb,)),
                        frozenset((group,)),
                        frozenset((resource,)),
                        self.names,
                    )
                    yield verb, group, resource, single


def _rules(store: Store, user: User) -> Iterator[_Rule]:
    for plural in ("clusterrolebindings", "rolebindings"):
        for record in store.table((RBAC_GROUP, plural)).records.values():
            binding = record.object()
            if not any(_is_subject(subject, user) for subject in binding.get("subjects") or ()):
                continue
            for rule in _role(store, binding.get("roleRef") or {}, record.namespace):
                yield _Rule(
                    record.namespace,
                    frozenset(rule.get("verbs") or ()),
                    frozenset(rule.get("apiGroups") or ()),
                    frozenset(rule.get("resources") or ()),
                    frozenset(rule.get("resourceNames") or ()),
                )


def _role(store: Store, reference: Mapping[str, Any], namespace: str) -> Iterable[Object]:
    """The rules of a role that a binding names; none when there is no such role."""
    is_cluster = reference.get("kind") == "ClusterRole"
    table = store.table((RBAC_GROUP, "clusterroles" if is_cluster else "roles"))
    record = table.records.get(("" if is_cluster else namespace, str(reference.get("name"))))
    return () if record is None else record.object().get("rules") or ()


def _is_subject(subject: Mapping[str, Any], user: User) -> bool:
    match subject.get("kind"):
        case "User":
            return subject.get("name") == user.name
        case "Group":
            return subject.get("name") in user.groups
        case "ServiceAccount":
            return user.name == f"system:serviceaccount:{subject.get('namespace')}:{subject.get('name')}"
        case _:
            return False


def _unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")
