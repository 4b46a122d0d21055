"""What is done when a tool refuses: what is tried again, what is told, and what is no failure at all."""

from collections.abc import Callable, Sequence

import pytest

from controller.dataplane.edits import EnterRule, ReplaceChain
from controller.dataplane.kernel import ATTEMPTS, Detours, Kernel, KernelError
from controller.dataplane.plan import AddEntries, Commit, DestroySets, FillSet, RemoveEntries, Step, advance
from controller.dataplane.render import SET_MAXELEM
from controller.dataplane.restore_channel import ChannelUnavailableError
from controller.dataplane.ruleset import AddressSet, Chain, Jump, PortMatch, Return, Rule, Ruleset, SetType
from controller.dataplane.setlink import SetLinkError
from controller.dataplane.tools import Backend, Result, ToolError, ToolMissingError
from tests.unit.fakehost import FakeHost, no_link

EMPTY = Ruleset(4)
PEERS = AddressSet("pg4-aaaaaaaaaaaaaaaa", SetType.ADDRESSES, ("10.0.0.1", "10.0.0.2"))
HELD = Ruleset(4, (), (PEERS,))
COMMIT = Commit(
    (ReplaceChain(Chain("PODGATE", (Rule((), Return()),))), EnterRule("FORWARD", Rule((), Jump("PODGATE"))))
)
LOCKED = Result(4, "", "Another app is currently holding the xtables lock; still 0s 100000us time ahead")
CONFLICT = Result(
    4, "", "iptables-nft-restore: line 3: RULE_APPEND failed (Resource temporarily unavailable)"
)
REFUSED = Result(1, "", "iptables-restore: line 2 failed")


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def kernel(host: FakeHost, pauses: list[float]) -> Kernel:
    return Kernel(4, Backend.NFT, host, pauses.append, no_link)


def failing(words: str, answers: Sequence[Result]) -> Callable[[Sequence[str], str], Result | None]:
    """The first calls whose command holds the words are answered so."""
    left = list(answers)
    return lambda command, _: left.pop(0) if left and words in " ".join(command) else None


# Commits


@pytest.mark.parametrize("answer", [LOCKED, CONFLICT])
def test_a_commit_that_others_were_in_the_way_of_is_tried_again(
    host: FakeHost, kernel: Kernel, pauses: list[float], answer: Result
) -> None:
    host.trouble = failing("restore", [answer] * (ATTEMPTS - 1))

    kernel.execute(EMPTY, [COMMIT])

    assert kernel.read() == advance(EMPTY, COMMIT)
    assert len(host.called("restore", "--noflush", "--wait")) == ATTEMPTS
    assert pauses == [0.04, 0.08, 0.16, 0.32]


def test_a_commit_that_others_are_in_the_way_of_for_good_is_an_error(host: FakeHost, kernel: Kernel) -> None:
    host.trouble = failing("restore", [LOCKED] * ATTEMPTS)

    with pytest.raises(KernelError, match=r"IPv4 Commit: .*exit code 4: Another app"):
        kernel.execute(EMPTY, [COMMIT])


def test_a_commit_that_was_refused_is_not_tried_again(
    host: FakeHost, kernel: Kernel, pauses: list[float]
) -> None:
    host.trouble = failing("restore", [REFUSED])

    with pytest.raises(KernelError, match="exit code 1: iptables-restore: line 2 failed"):
        kernel.execute(EMPTY, [COMMIT])
    assert pauses == []


def test_no_step_is_taken_after_one_that_failed(host: FakeHost, kernel: Kernel) -> None:
    host.trouble = failing("iptables", [REFUSED])

    with pytest.raises(KernelError):
        kernel.execute(EMPTY, [FillSet(PEERS), COMMIT, DestroySets((PEERS.name,))])
    assert PEERS.name in host.sets


@pytest.mark.parametrize(
    "step",
    [
        Commit((ReplaceChain(Chain("PODGATE", (Rule((PortMatch(((1, 1),)),), Return()),))),)),
        FillSet(AddressSet("pg4-x", SetType.ADDRESSES, ("10.0.0.1",) * (SET_MAXELEM + 1))),
        FillSet(AddressSet("pg4-x", SetType.ADDRESSES, ("10.0.0.1\ndestroy",))),
    ],
    ids=["no text", "too many", "no entry"],
)
def test_what_cannot_be_written_is_an_error_of_this_family_like_any_other(kernel: Kernel, step: Step) -> None:
    with pytest.raises(KernelError, match=f"IPv4 {type(step).__name__}: "):
        kernel.execute(EMPTY, [step])


def test_a_missing_tool_is_named(host: FakeHost, kernel: Kernel) -> None:
    def missing(command: Sequence[str], _: str) -> Result:
        raise ToolMissingError(command, f"{command[0]} is not installed")

    host.trouble = missing

    with pytest.raises(KernelError, match="iptables-nft-restore is not installed"):
        kernel.execute(EMPTY, [COMMIT])
    with pytest.raises(KernelError, match="iptables-nft-save is not installed"):
        kernel.read()
    with pytest.raises(KernelError, match="iptables-nft is not installed"):
        kernel.is_alive()
    with pytest.raises(KernelError, match="ipset is not installed"):
        kernel.clear_sets()


# A restore process that is kept open


class FakeChannel:
    """Answers each commit so, or raises it."""

    def __init__(self, answer: Result | Exception) -> None:
        self._answer = answer
        self.closed = False

    def commit(self, _: str) -> Result:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def close(self) -> None:
        self.closed = True


def with_channel(host: FakeHost, answer: Result | Exception) -> Kernel:
    return Kernel(4, Backend.NFT, host, channel=FakeChannel(answer))  # type: ignore[arg-type]


def test_what_the_channel_took_needs_no_process(host: FakeHost) -> None:
    kernel = with_channel(host, Result(0, "", "a warning"))

    kernel.execute(EMPTY, [COMMIT])

    assert host.called("restore") == []
    assert kernel.detours == Detours()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (LOCKED, LOCKED.errors),
        (Result(2, "", ""), "exit code 2"),
        (ChannelUnavailableError("no terminal"), "no terminal"),
    ],
)
def test_what_the_channel_did_not_take_is_taken_by_a_process_and_counted(
    host: FakeHost, answer: Result | Exception, reason: str
) -> None:
    kernel = with_channel(host, answer)

    kernel.execute(EMPTY, [COMMIT])

    assert kernel.read() == advance(EMPTY, COMMIT)
    assert len(host.called("restore")) == 1
    assert kernel.detours == Detours(1, reason)


def test_what_the_channel_may_have_taken_is_not_tried_again_blindly(host: FakeHost) -> None:
    kernel = with_channel(host, ToolError(["iptables-nft-restore"], "killed by signal 9"))

    with pytest.raises(KernelError, match="killed by signal 9"):
        kernel.execute(EMPTY, [COMMIT])

    assert host.called("restore") == []


def test_closing_closes_the_channel(host: FakeHost) -> None:
    channel = FakeChannel(Result(0, "", ""))
    kernel = Kernel(4, Backend.NFT, host, channel=channel)  # type: ignore[arg-type]

    kernel.close()

    assert channel.closed


# Sets


def test_a_set_that_is_still_in_use_for_a_moment_is_destroyed_then(
    host: FakeHost, kernel: Kernel, pauses: list[float]
) -> None:
    busy = Result(1, "", "ipset v7.17: Set cannot be destroyed: it is in use by a kernel component")
    kernel.execute(EMPTY, [FillSet(PEERS)])
    host.trouble = failing("destroy", [busy, busy])

    kernel.execute(HELD, [DestroySets((PEERS.name,))])

    assert host.sets == {}
    assert len(pauses) == 2


def test_a_set_that_stays_in_use_fails_nothing_and_is_read_again(host: FakeHost, kernel: Kernel) -> None:
    kernel.execute(EMPTY, [FillSet(PEERS), COMMIT])
    host.chains[4]["OUTPUT"] = [f"-m set --match-set {PEERS.name} dst -j ACCEPT"]

    kernel.execute(HELD, [DestroySets((PEERS.name,))])

    assert [each.name for each in kernel.read().sets] == [PEERS.name]


def test_a_set_that_is_gone_already_is_destroyed(kernel: Kernel) -> None:
    kernel.execute(EMPTY, [DestroySets(("pg4-x",))])

    assert kernel.read() == EMPTY


def test_an_abandoned_set_of_another_kind_makes_room_for_the_one_that_is_filled(
    host: FakeHost, kernel: Kernel
) -> None:
    host.sets[PEERS.name] = ("hash:net family inet", {"10.0.0.0/8"})

    kernel.execute(EMPTY, [FillSet(PEERS)])

    assert kernel.read() == HELD


def test_sets_of_others_are_not_read_and_not_asked_for(host: FakeHost, kernel: Kernel) -> None:
    host.sets = {"pg6-known": ("hash:ip family inet6", set()), "KUBE-X": ("hash:newest", set())}

    assert kernel.read() == EMPTY
    kernel.clear_sets()

    assert host.sets.keys() == {"pg6-known", "KUBE-X"}


class BrokenLink:
    """A netlink channel on which nothing arrives any more."""

    closed = False

    def add(self, *_: object) -> None:
        raise SetLinkError(4352, "set x: the set is full")

    def remove(self, *_: object) -> None:
        raise OSError(105, "No buffer space available")

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (AddEntries(PEERS.name, ("10.0.0.3",)), "the set is full"),
        (RemoveEntries(PEERS.name, ("10.0.0.1",)), "buffer"),
    ],
)
def test_a_channel_on_which_something_failed_is_closed_and_opened_anew(
    host: FakeHost, step: Step, words: str
) -> None:
    links: list[BrokenLink] = []

    def opened() -> BrokenLink:
        links.append(BrokenLink())
        return links[-1]

    kernel = Kernel(4, Backend.NFT, host, open_link=opened)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(KernelError, match=words):
            kernel.execute(HELD, [step])

    assert [link.closed for link in links] == [True, True]


# Entries of the kernel's own chains


JUMP = "-m comment --comment podgate -j PODGATE"


def test_one_jump_above_all_others_is_left(host: FakeHost, kernel: Kernel) -> None:
    kernel.execute(EMPTY, [COMMIT])
    host.chains[4]["FORWARD"] = ["-i lo -j PODGATE", "-j ACCEPT", "-j PODGATE", "-j DROP", "-j PODGATE"]

    kernel.mend_entries()

    assert host.chains[4]["FORWARD"] == ["-j PODGATE", "-j ACCEPT", "-j DROP"]
    assert not kernel.mend_entries()


def test_a_foreign_rule_above_the_jump_is_passed_by_who_insists(host: FakeHost, kernel: Kernel) -> None:
    kernel.execute(EMPTY, [COMMIT])
    host.chains[4]["FORWARD"].insert(0, "-j ACCEPT")
    above = [*host.chains[4]["FORWARD"]]

    assert not kernel.mend_entries(insisting=False)
    assert host.chains[4]["FORWARD"] == above

    assert kernel.mend_entries()
    assert host.chains[4]["FORWARD"] == ["-j PODGATE", "-j ACCEPT"]


def test_a_jump_too_many_goes_also_where_the_first_place_is_not_insisted_on(
    host: FakeHost, kernel: Kernel
) -> None:
    kernel.execute(EMPTY, [COMMIT])
    host.chains[4]["FORWARD"] = ["-j ACCEPT", "-j PODGATE", "-j PODGATE"]

    kernel.mend_entries(insisting=False)

    assert host.chains[4]["FORWARD"] == ["-j PODGATE", "-j ACCEPT"]


def test_a_stray_jump_alone_is_left_until_the_right_one_is_there(host: FakeHost, kernel: Kernel) -> None:
    """It may be all that enforces anything."""
    kernel.execute(EMPTY, [COMMIT])
    host.chains[4]["FORWARD"] = ["-i lo -j PODGATE"]

    assert not kernel.mend_entries()
    assert kernel.survey().faults == (
        "a rule that is not podgate's leads into its chains: -A FORWARD -i lo -j PODGATE",
    )
