"""What users are told about their objects, as values: the Events that should exist.

A notice says what is so about an object as long as it is so (`SelectsNoPods`), or what came about once
(`Enforced`). How often it is told is `event_log`'s business.
"""

from enum import StrEnum

from msgspec import Struct

from controller.objects.names import shown_text

NOTE_MAX = 1000
"""Characters of a note; the API server takes 1024 bytes."""


class Reason(StrEnum):
    """Why an Event is there. These names are an interface: people filter by them."""

    SELECTS_NO_PODS = "SelectsNoPods"
    INVALID_PART = "InvalidPart"
    NAMED_PORT_UNRESOLVED = "NamedPortUnresolved"
    ENFORCED = "Enforced"
    AUDITED = "Audited"
    QUARANTINED = "Quarantined"

    @property
    def is_once(self) -> bool:
        """Whether it comes about, and is not something that is so for a while."""
        return self in {Reason.ENFORCED, Reason.AUDITED}


class Subject(Struct, frozen=True, order=True):
    """The object that is spoken of."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str = ""


class Topic(Struct, frozen=True, order=True):
    """What is spoken of: the object, the reason, and the part of it. One Event, however its words change."""

    subject: Subject
    reason: Reason
    part: str = ""


class Notice(Struct, frozen=True):
    """One thing to say. `action` is what we do about it."""

    topic: Topic
    note: str
    action: str
    is_warning: bool = True


def notice(topic: Topic, note: str, action: str, *, is_warning: bool = True) -> Notice:
    """A notice, its note on one line and no longer than an Event may say."""
    text = shown_text(note, NOTE_MAX)
    while len(text.encode()) > NOTE_MAX:
        text = text[:-1]
    return Notice(topic, text, action, is_warning)
