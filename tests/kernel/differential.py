"""One round of the differential test: a random cluster, a few hundred probes, three judges.

`evaluate` reads the policies, `simulate` walks the compiled rules, the kernel lets packets pass or not. They
share nothing but the values they start from, so what all three say is hardly wrong.
"""

from random import Random

import msgspec
from msgspec import Struct

from controller.dataplane.settings import Settings
from controller.lab.namespaces import CommandError
from controller.lab.probing import Outcome
from controller.objects.kinds import Cluster
from tests.kernel.ends import End
from tests.kernel.random_clusters import Draw
from tests.kernel.rules import Service
from tests.kernel.trial import Judgement, Trial
from tests.kernel.wiring import Plan

SETTINGS = (
    Settings(),
    Settings(gates=(4, 6), bucket_size=1, inline_blocks=0),
    Settings(gates=(), hairpin_by_bpf=False, bucket_size=2),
)
"""The choices that change the rules and must not change a verdict."""

_PATIENCE = 1.0


class Round(Struct, frozen=True):
    """What came of a round: how many probes, how many were allowed, and those about which the judges differ.

    `late` are probes that only a second, more patient attempt got through: the machine was busy.
    """

    seed: str
    probes: int
    allowed: int
    late: int
    faults: tuple[Judgement, ...]
    cluster: Cluster

    def __str__(self) -> str:
        """For people: what is wrong, and about which policies."""
        lines = [f"round {self.seed}: {len(self.faults)} of {self.probes} probes are judged differently"]
        lines += [f"  {fault}" for fault in self.faults]
        lines += [f"  {_text(each)}" for each in (*self.cluster.policies, *self.cluster.pods)]
        return "\n".join(lines)


def play(trial: Trial, seed: str, probes: int = 300) -> Round:
    """Play one round; the same seed plays it again. Raises CommandError for rules that do not load."""
    random = Random(seed)  # noqa: S311  to be repeatable is the point
    draw = Draw(random, trial.lab.plan)
    cluster = draw.cluster()
    services = _services(random, trial.lab.plan)
    try:
        trial.enforce(cluster, random.choice(SETTINGS))
        trial.serve(*services)
    except CommandError as error:
        error.add_note(f"in round {seed}")
        raise
    judgements = trial.judge(draw.probes(cluster, probes, {each.address: each.port for each in services}))
    faults = [judgement for judgement in judgements if not judgement.agrees]
    remaining = _again(trial, faults)
    return Round(
        seed,
        probes=len(judgements),
        allowed=sum(judgement.evaluate for judgement in judgements),
        late=len(faults) - len(remaining),
        faults=tuple(remaining),
        cluster=cluster,
    )


def _services(random: Random, lab: Plan) -> list[Service]:
    """A Service in front of some pod.

    Always at another address: a node that let a SYN pass, which another node then dropped, remembers for a
    while where it sent it, and would send the next one from that port there, wherever the Service leads then.
    """
    number, place = random.randrange(1, 1 << 16), random.choice(lab.pods)
    virtual = {4: f"10.96.{number >> 8}.{number & 255}", 6: f"fd00:10:96::{number:x}"}
    return [
        Service(virtual[family], 80, End(place.name, address), 8080)
        for family, address in place.addresses.items()
    ]


def _again(trial: Trial, faults: list[Judgement]) -> list[Judgement]:
    """What stays wrong when the silent probes are tried again; an answer that should not be stays one."""
    silent = [fault.probe for fault in faults if fault.kernel is Outcome.SILENT]
    answered = [fault for fault in faults if fault.kernel is not Outcome.SILENT]
    return answered + [each for each in trial.judge(silent, _PATIENCE) if not each.agrees]


def _text(value: Struct) -> str:
    found = {name: each for name, each in msgspec.structs.asdict(value).items() if each}
    return f"{type(value).__name__.lower()} {msgspec.json.encode(found).decode()}"
