"""Random clusters: what the policies say, what the rules say and what the kernel does is the same."""

import pytest

from tests.kernel.differential import play
from tests.kernel.trial import Trial

pytestmark = pytest.mark.kernel

ROUNDS = 6


def test_policies_simulated_rules_and_the_kernel_agree(trial: Trial) -> None:
    rounds = [play(trial, f"ci/{number}") for number in range(ROUNDS)]

    faults = [str(found) for found in rounds if found.faults]
    assert not faults, "\n".join(faults)
    # As many of either kind that agreement means something.
    probes, allowed = sum(found.probes for found in rounds), sum(found.allowed for found in rounds)
    assert 0.1 < allowed / probes < 0.9
