"""What podgate does to the connection table itself: take its own marks off."""

from controller.dataplane.tools import Runner, require

_FAMILY_NAMES = {4: "ipv4", 6: "ipv6"}


class Conntrack:
    """The connection table of this network namespace, through the conntrack tool."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def clear_marks(self, family: int, mask: int) -> None:
        """Clear the masked bits of every connection's mark, and only those; each is then judged anew.

        O(connections), 14 ms plus 3 us each. Raises ToolError where the tool is missing or fails.
        """
        command = ("conntrack", "-U", "-f", _FAMILY_NAMES[family], "-m", f"0/{mask:#x}")
        result = self._runner.run(command)
        if result.code and " 0 flow entries" not in result.errors:
            require(result, command)
