"""What was enforced last, on disk: where the agent goes on from while the API server is away.

One file, replaced as a whole, so that a crash leaves the one before. It is trusted only if its checksum fits
and it is of this node: rules that are a guess would be worse than the rules that are there, or than none.
"""

import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from controller.agent.subscription import Snapshot
from controller.engine.group_slices import Members, slice_members
from controller.engine.node_policies import ResourceError
from controller.engine.rulesets import Endpoint
from controller.objects.resources import NodePolicySpec, PeerGroupSliceSpec, SliceEndpoint

FILE_NAME = "last-good.json"
FORMAT = 1
_SIZE_MAX = 256 << 20


class LastGoodError(Exception):
    """The file is there and is not to be trusted, or it cannot be written; the message says which and why."""


class _Header(Struct, frozen=True, rename="camel"):
    """The first line. `sha256` is of all that follows it."""

    format: int
    node: str = ""
    sha256: str = ""


class _Group(Struct, frozen=True, omit_defaults=True):
    """The members of one group, in no order; not cut into slices."""

    addresses: tuple[str, ...] = ()
    endpoints: tuple[SliceEndpoint, ...] = ()


class _Content(Struct, frozen=True):
    """All that follows the first line."""

    spec: NodePolicySpec
    groups: dict[str, _Group]


class LastGood:
    """The file of one node in a folder that only root may read. Blocks: not to be called in an event loop."""

    def __init__(self, folder: Path, node: str) -> None:
        self._folder = folder
        self._node = node

    @property
    def path(self) -> Path:
        """The file."""
        return self._folder / FILE_NAME

    def save(self, snapshot: Snapshot) -> None:
        """Replace the file; it is on the disk when this returns. O(members). Raises LastGoodError."""
        content = msgspec.json.encode(_Content(snapshot.spec, _written(snapshot.members)))
        header = _Header(FORMAT, self._node, hashlib.sha256(content).hexdigest())
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._replace(msgspec.json.encode(header) + b"\n" + content)
        except OSError as error:
            raise LastGoodError(
                f"{self.path}: cannot be written: {error.strerror or error}; an agent that starts while the "
                "API server is away has nothing to go on from"
            ) from error

    def load(self) -> Snapshot | None:
        """What was saved last; None where nothing was. Raises LastGoodError for what is not to be trusted."""
        try:
            if self.path.stat().st_size > _SIZE_MAX:
                raise self._refusal(f"is larger than {_SIZE_MAX >> 20} MB")
            text = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._refusal(f"cannot be read: {error.strerror or error}") from error
        head, _, content = text.partition(b"\n")
        try:
            self._check(msgspec.json.decode(head, type=_Header), content)
            found = msgspec.json.decode(content, type=_Content)
            return Snapshot(found.spec, {key: _members(group) for key, group in found.groups.items()})
        except (msgspec.DecodeError, ResourceError) as error:
            raise self._refusal(f"cannot be understood: {error}") from error

    def _check(self, header: _Header, content: bytes) -> None:
        if header.format != FORMAT:
            raise self._refusal(f"has format {header.format}, and this version knows {FORMAT}")
        if header.node != self._node:
            raise self._refusal(f"is of node {header.node!r}, and this is {self._node!r}")
        if header.sha256 != hashlib.sha256(content).hexdigest():
            raise self._refusal("does not fit its checksum")

    def _refusal(self, why: str) -> LastGoodError:
        return LastGoodError(f"{self.path}: {why}; it is left aside, and replaced when something is enforced")

    def _replace(self, text: bytes) -> None:
        beside = self.path.with_suffix(".new")
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)  # the new name too
        finally:
            os.close(folder)


def discard(folder: Path) -> None:
    """Remove the file of whatever node; nothing where there is none. Raises LastGoodError."""
    file = folder / FILE_NAME
    try:
        for each in (file, file.with_suffix(".new")):
            if os.path.lexists(each):  # a file system that is read-only refuses even what is not there
                each.unlink()
    except OSError as error:
        raise LastGoodError(f"{file}: cannot be removed: {error.strerror or error}") from error


def _written(members: Mapping[str, Members]) -> dict[str, _Group]:
    return {
        key: _Group(
            addresses=tuple(each for each in found if isinstance(each, str)),
            endpoints=tuple(_endpoint(each) for each in found if not isinstance(each, str)),
        )
        for key, found in members.items()
    }


def _endpoint(endpoint: Endpoint) -> SliceEndpoint:
    address, protocol, port = endpoint
    return SliceEndpoint(address, protocol.name, port)


def _members(group: _Group) -> Members:
    spec = PeerGroupSliceSpec(selector="", addresses=group.addresses, endpoints=group.endpoints)
    return frozenset(slice_members(spec))  # type: ignore[return-value]
