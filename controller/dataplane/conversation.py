"""A tool that stays, and its three ends: what it is told, what it answers, what it complains of.

Its standard output is a terminal, or C programs would keep their answers back until they have 4 KiB of them.
All ends are served at once, so that neither side waits for the other with a full pipe.
"""

import contextlib
import os
import select
import subprocess
import termios
import time
from collections.abc import Sequence

from controller.dataplane.tools import environment, tool_path

_CHUNK = 65536
_KEPT = 4096
"""Octets of complaints that are kept: an operator reads the last ones."""


class Conversation:
    """A running tool. Not for several threads.

    Raises ToolMissingError where it is not installed, OSError where it cannot be started.
    """

    def __init__(self, command: Sequence[str]) -> None:
        path = tool_path(command)
        self._answers, terminal = os.openpty()
        try:
            _make_plain(terminal)
            self._process = subprocess.Popen(  # noqa: S603 - constant arguments, no shell
                [path, *command[1:]],
                stdin=subprocess.PIPE,
                stdout=terminal,
                stderr=subprocess.PIPE,
                env=environment(),
                bufsize=0,
                process_group=0,  # the key that stops podgate must not reach a tool in the middle of a commit
            )
        except BaseException:
            os.close(self._answers)
            raise
        finally:
            os.close(terminal)
        if self._process.stdin is None or self._process.stderr is None:
            raise AssertionError("unreachable: both are pipes")
        self._input, self._errors = self._process.stdin, self._process.stderr
        for end in (self._input, self._errors):
            os.set_blocking(end.fileno(), False)
        self._complaints = b""

    @property
    def process_id(self) -> int:
        """Of the tool."""
        return self._process.pid

    def is_over(self) -> bool:
        """Whether the tool has ended."""
        return self._process.poll() is not None

    def say(self, text: str, *, awaited: str, deadline: float) -> bool:
        """Send a text and listen until the line that is awaited comes back.

        False where the tool closed its end before. Raises TimeoutError at the deadline, of the monotonic
        clock.
        """
        left, heard, line = memoryview(text.encode()), b"", awaited.encode()
        ends = select.poll()
        ends.register(self._answers, select.POLLIN)
        ends.register(self._errors, select.POLLIN)
        ends.register(self._input, select.POLLOUT)
        while True:
            for end, _ in ends.poll(1000 * max(0.0, deadline - time.monotonic())):
                if end == self._input.fileno():
                    left = self._send(left)
                    if not left:
                        ends.unregister(self._input)
                elif end == self._errors.fileno():
                    if not self._hear_complaints():
                        ends.unregister(self._errors)
                elif received := self._hear():
                    heard += received
                    if line in heard.splitlines():
                        return True
                    heard = heard[heard.rfind(b"\n") + 1 :]
                else:
                    return False
            if time.monotonic() >= deadline:
                raise TimeoutError

    def complaints(self) -> str:
        """The end of what it complained of since it was last asked, also after it ended."""
        with contextlib.suppress(BlockingIOError):
            while not self._errors.closed and self._hear_complaints():
                continue
        found, self._complaints = self._complaints, b""
        return found.decode(errors="replace").strip()

    def end(self, patience: float) -> int:
        """Tell it that there is no more, and return its exit code, negative for a signal.

        Killed after `patience` seconds; gone in any case.
        """
        self._input.close()
        try:
            code = self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._complaints = self.complaints().encode()
        self._errors.close()
        os.close(self._answers)
        return code

    def _send(self, left: memoryview) -> memoryview:
        """What could not be sent yet; nothing where nobody reads any more, as the other ends will tell."""
        try:
            return left[os.write(self._input.fileno(), left) :]
        except BrokenPipeError:
            return left[:0]

    def _hear(self) -> bytes:
        """Nothing where the tool has closed its end."""
        try:
            return os.read(self._answers, _CHUNK)
        except OSError:  # EIO: nobody has the terminal open any more
            return b""

    def _hear_complaints(self) -> bool:
        """False where there will be no more."""
        received = os.read(self._errors.fileno(), _CHUNK)
        self._complaints = (self._complaints + received)[-_KEPT:]
        return bool(received)


def _make_plain(terminal: int) -> None:
    """Lines come out as they went in, and nothing that is sent to it is echoed."""
    attributes = termios.tcgetattr(terminal)
    attributes[1] &= ~termios.OPOST
    attributes[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG)
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)
