"""Packets between the pods of a lab, of all three protocols, in both families."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Self

from msgspec import Struct

from controller.lab.lab import Lab
from controller.lab.namespaces import Namespace
from controller.lab.probing import Outcome, Shot, fire, fire_together
from controller.lab.targets import Ends
from controller.objects.kinds import Protocol
from tests.kernel.ends import End, SctpHost

_PATIENCE = 0.06
"""Seconds; thousands of silences are waited for. Answers in a lab come a hundred times sooner."""
_SECOND_PATIENCE = 1.5


class Question(Struct, frozen=True):
    """Who asks whom, and what should come of it."""

    source: str
    destination: str
    protocol: Protocol
    port: int
    allowed: bool
    family: int = 0

    def __str__(self) -> str:
        service = f"{self.port}/{self.protocol.name}"
        word = "allowed" if self.allowed else "denied"
        return f"{self.source} -> {self.destination} {service} IPv{self.family or 4} is {word}"


class Wrong(Struct, frozen=True):
    """A question whose outcome is not as it should be."""

    question: Question
    outcome: Outcome

    def __str__(self) -> str:
        return f"{self.question}, and it was {self.outcome}"


class Packets:
    """Asks with packets. The ends are those of the moment it was made; use it in one event loop."""

    def __init__(self, ends: Ends) -> None:
        self._ends = ends
        self._leaving = ExitStack()
        self._namespaces: dict[str, Namespace] = {}
        self._sctp_hosts: dict[tuple[str, str], SctpHost] = {}
        self.late = 0
        """How many that should be answered were at the second attempt only: the machine was busy."""

    @classmethod
    async def of(cls, lab: Lab) -> Self:
        """Between the ends there are now."""
        return cls(await lab.ends())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.close()

    async def wrong(self, questions: Sequence[Question]) -> list[Wrong]:
        """Those that fare otherwise than they should.

        What should be answered gets a second chance, what should not gets none.
        """
        outcomes = await self._outcomes(questions, _PATIENCE)
        again = [
            place
            for place, question in enumerate(questions)
            if question.allowed and outcomes[place] is not Outcome.ANSWERED
        ]
        second = await self._outcomes([questions[place] for place in again], _SECOND_PATIENCE)
        for place, outcome in zip(again, second, strict=True):
            self.late += outcome is Outcome.ANSWERED
            outcomes[place] = outcome
        return [
            Wrong(question, outcome)
            for question, outcome in zip(questions, outcomes, strict=True)
            if outcome is not (Outcome.ANSWERED if question.allowed else Outcome.SILENT)
        ]

    async def _outcomes(self, questions: Sequence[Question], patience: float) -> list[Outcome]:
        shots = [self._shot(question) for question in questions]
        found: dict[int, Outcome] = {}
        others = [place for place, shot in enumerate(shots) if shot.protocol is not Protocol.SCTP]
        for shot in shots:
            self._open(shot)
        fired = await fire([shots[place] for place in others], self._namespaces, patience)
        found.update(zip(others, fired, strict=True))
        sctp = [place for place in range(len(shots)) if place not in found]
        attempts = [self._host(shots[place]).ask(shots[place].address, shots[place].port) for place in sctp]
        found.update(zip(sctp, await fire_together(attempts, patience), strict=True))
        return [found[place] for place in range(len(shots))]

    def _shot(self, question: Question) -> Shot:
        ends = (question.source, question.destination)
        shot = self._ends.shot(*ends, question.port, question.protocol, question.family)
        if question.protocol is Protocol.SCTP:  # nobody in a lab's pods listens: they answer by hand
            self._listen(question.destination, shot.address)
        return shot

    def _listen(self, name: str, address: str) -> None:
        end = self._ends.find(name)
        self._host(Shot(end.namespace, address, address, 0))

    def _host(self, shot: Shot) -> SctpHost:
        key = (shot.namespace, shot.source)
        if key not in self._sctp_hosts:
            self._sctp_hosts[key] = SctpHost(self._open(shot), End(*key))
            self._leaving.callback(self._sctp_hosts[key].close)
        return self._sctp_hosts[key]

    def _open(self, shot: Shot) -> Namespace:
        if shot.namespace not in self._namespaces:
            found = self._leaving.enter_context(Namespace(shot.namespace))
            self._namespaces[shot.namespace] = found
        return self._namespaces[shot.namespace]


def all_pairs(
    names: Iterable[str], protocol: Protocol, port: int, *, allowed: bool, family: int = 0
) -> list[Question]:
    """Everybody asks everybody else."""
    listed = [*names]
    return [
        Question(source, destination, protocol, port, allowed, family)
        for source in listed
        for destination in listed
        if source != destination
    ]
