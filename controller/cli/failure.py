"""Exit codes, and the error a verb raises for the user."""

CLEAN = 0
FOUND = 1
"""Findings, a denied flow or a difference: the command worked, the answer is not the quiet one."""
ERROR = 2
"""The input or the call is wrong."""


class CommandError(Exception):
    """One line for the user on standard error, exit code 2: the thing, what is wrong, what to do."""
