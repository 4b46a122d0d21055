"""Lengths of time as users of kubectl write them: `30s`, `2m`, `1h30m`, `500ms`."""

import re

import click

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)", re.ASCII)


class Duration(click.ParamType[float]):
    """Seconds, from `1m30s` or a bare number."""

    name = "duration"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse, or fail as a usage error."""
        if isinstance(value, float | int):
            return float(value)
        text = value if not value.isascii() or not value.isdigit() else f"{value}s"
        parts = _PART.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            self.fail(f"{value!r} is no length of time such as 30s, 2m or 1h30m", param, ctx)
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
