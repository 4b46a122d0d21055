"""What podgate does to the connection table itself: take its own marks off."""

from collections.abc import Callable

from controller.agent.marklink import clear_marks
from controller.dataplane.tools import Runner, ToolError, require

_FAMILY_NAMES = {4: "ipv4", 6: "ipv6"}


class Conntrack:
    """The connection table of this network namespace, through the conntrack tool while its answers fit.

    `clear_directly` does the same by netlink; conntrack 1.4.7 gives up after 256 connections.
    """

    def __init__(self, runner: Runner, clear_directly: Callable[[int, int], int] = clear_marks) -> None:
        self._runner = runner
        self._clear_directly = clear_directly

    def clear_marks(self, family: int, mask: int) -> None:
        """Clear the masked bits of every connection's mark, and only those; each is then judged anew.

        O(connections), 20 us each. Raises ToolError where the tool is missing or fails.
        """
        command = ("conntrack", "-U", "-f", _FAMILY_NAMES[family], "-m", f"0/{mask:#x}")
        result = self._runner.run(command)
        if not result.code or " 0 flow entries" in result.errors:
            return
        if "No buffer space" not in result.errors:
            require(result, command)
        try:
            self._clear_directly(family, mask)
        except OSError as error:
            raise ToolError(command, f"{result.errors.strip()}; then by netlink: {error}") from error
