"""Log lines of the operator and the agent: one event, a few keys, JSON or text.

JSON for a cluster, where a collector reads it, and text for a person at a terminal; the same keys in both:
`ts`, `level`, `msg`, `logger`, and what the line is about (`node`, `policy`, `pod`, `digest`, `err`). Lines
of libraries come out in the same form. Values are text of other people: what could move a cursor is escaped.
"""

import logging
import sys
from collections.abc import MutableMapping
from enum import StrEnum
from typing import Any, Protocol, TextIO

import msgspec

_ABSENT = object()
_rich = sys.modules.get("rich", _ABSENT)
# structlog.dev imports rich to draw tracebacks that nobody here asks for: 3.5 MB in each agent, and 0.2 s.
sys.modules["rich"] = None  # type: ignore[assignment]
try:
    import structlog
finally:
    if _rich is _ABSENT:
        del sys.modules["rich"]
    else:
        sys.modules["rich"] = _rich  # type: ignore[assignment]

Event = MutableMapping[str, Any]

_QUIET = {"kopf.objects": logging.WARNING, "aiohttp.access": logging.WARNING, "asyncio": logging.WARNING}
"""Loggers of libraries that speak of every event or request at info level."""


class Level(StrEnum):
    """The least severe lines that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Format(StrEnum):
    """How lines look; `auto` is text on a terminal and JSON elsewhere."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


class Logger(Protocol):
    """A logger; keyword arguments are the keys of the line."""

    def bind(self, **keys: object) -> "Logger":
        """The same logger with keys on each of its lines."""

    def debug(self, msg: str, **keys: object) -> None:
        """For whoever looks for a bug: single events and writes."""

    def info(self, msg: str, **keys: object) -> None:
        """A decision that an operator of the cluster wants to know; nothing that happens per event."""

    def warning(self, msg: str, **keys: object) -> None:
        """Something that works less well than it should, or an object that is wrong."""

    def error(self, msg: str, **keys: object) -> None:
        """Something that does not work."""

    def exception(self, msg: str, **keys: object) -> None:
        """A bug: with the traceback of the exception being handled."""


def logger(name: str) -> Logger:
    """The logger of a part of the process: `operator.writer`. May be asked for before `configure`."""
    found: Logger = structlog.get_logger(logger_name=name)
    return found


def configure(level: Level = Level.INFO, form: Format = Format.AUTO, stream: TextIO | None = None) -> None:
    """Say which lines are written and how, for our loggers and those of libraries. To standard error."""
    out = sys.stderr if stream is None else stream
    is_terminal = out.isatty()
    as_text = form is Format.TEXT or (form is Format.AUTO and is_terminal)
    number = getattr(logging, level.name)
    render = _text_renderers(colors=is_terminal) if as_text else _JSON
    shared: list[structlog.typing.Processor] = [
        _own_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(least, number))


def _text_renderers(*, colors: bool) -> list[structlog.typing.Processor]:
    console = structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
    )
    return [_printable, console]


def _own_name(_logger: object, _method: str, event: Event) -> Event:
    """`logger` is an argument of structlog's own, so that ours travels under another name until here."""
    if (name := event.pop("logger_name", None)) is not None:
        event["logger"] = name
    return event


def _printable(_logger: object, _method: str, event: Event) -> Event:
    """Control characters of other people's text, escaped: a terminal would obey them."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = value.encode("unicode_escape").decode("ascii")
    return event


def _named_keys(_logger: object, _method: str, event: Event) -> Event:
    """Our names for the keys, those that every line has first."""
    first = {
        "ts": event.pop("timestamp", ""),
        "level": event.pop("level", ""),
        "logger": event.pop("logger", ""),
        "msg": event.pop("event", ""),
    }
    return {**first, **event}


def _json(value: object, **_: object) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()


_JSON: list[structlog.typing.Processor] = [
    structlog.processors.format_exc_info,
    _named_keys,
    structlog.processors.JSONRenderer(serializer=_json),
]
