"""What Kubernetes allows in names, label keys, label values and port names, and how to print the rest.

Every text of an object is written by somebody who may be hostile or mistaken. The `..._problem` functions say
in words what breaks the grammar, `shown` puts any value into a message, and `safe_name` gives an object a
name that cannot break a line, a terminal or a table. Grammar: rule 2.70 a, b and d.
"""

import hashlib
import re

_DNS_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_DNS_LABEL_RE = re.compile(_DNS_LABEL, re.ASCII)
_DNS_SUBDOMAIN_RE = re.compile(rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*", re.ASCII)
_QUALIFIED_PART_RE = re.compile(r"(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]", re.ASCII)
_PORT_NAME_RE = re.compile(r"[-a-z0-9]+", re.ASCII)
_HAS_LETTER_RE = re.compile(r"[a-z]", re.ASCII)
_UNSAFE_RE = re.compile(r"[^A-Za-z0-9._-]", re.ASCII)

_SHOWN = 60
_LONGEST_NAME = 253


def dns_label_problem(text: str) -> str:
    """Why a text is no DNS-1123 label (namespaces), or "" when it is one."""
    if len(text) > 63:
        return "has more than 63 characters"
    if _DNS_LABEL_RE.fullmatch(text):
        return ""
    return "may only hold a-z, 0-9 and '-', and must start and end with a letter or digit"


def dns_subdomain_problem(text: str) -> str:
    """Why a text is no DNS-1123 subdomain (names of most objects), or "" when it is one."""
    if len(text) > _LONGEST_NAME:
        return "has more than 253 characters"
    if _DNS_SUBDOMAIN_RE.fullmatch(text):
        return ""
    return (
        "may only hold a-z, 0-9, '-' and '.', and each part between dots must start and end with a letter or "
        "digit"
    )


def label_key_problem(text: str) -> str:
    """Why a text is no label key (`name` or `prefix.example/name`), or "" when it is one."""
    prefix, slash, name = text.rpartition("/")
    if slash:
        if not prefix:
            return "has nothing before the '/'"
        if problem := dns_subdomain_problem(prefix):
            return f"has a prefix (before the '/') that {problem}"
    if not name:
        return "has no name part" if slash else "is empty"
    return _qualified_part_problem(name)


def label_value_problem(text: str) -> str:
    """Why a text is no label value, or "" when it is one; the empty text is one."""
    return _qualified_part_problem(text) if text else ""


def port_name_problem(text: str) -> str:
    """Why a text is no port name (IANA service name), or "" when it is one (rule 2.70 d)."""
    if not 1 <= len(text) <= 15:
        return "must have 1 to 15 characters"
    if not _PORT_NAME_RE.fullmatch(text):
        return "may only hold a-z, 0-9 and '-'"
    if not _HAS_LETTER_RE.search(text):
        return "must hold at least one letter"
    if "--" in text or text[0] == "-" or text[-1] == "-":
        return "must not start or end with '-' nor hold '--'"
    return ""


def shown(value: object) -> str:
    """A value as it may stand in a message: one line, about 60 characters, control characters escaped."""
    if isinstance(value, str):
        return f'"{_escaped(value, _SHOWN)}"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value) if abs(value) < 1 << 64 else "a number of more than 19 digits"
    if isinstance(value, float):
        return repr(value)
    return type_name(value)


def shown_text(text: str, length: int) -> str:
    """A text without quotes around it, on one line, at most `length` characters: file names, error texts."""
    return _escaped(text, length)


def type_name(value: object) -> str:
    """The YAML type of a value, with its article, for people: `a list`, `a mapping`, `a number`."""
    if value is None:
        return "null"
    names: tuple[tuple[type, str], ...] = (
        (bool, "a boolean"),
        (int, "a number"),
        (float, "a number"),
        (str, "a text"),
        (list, "a list"),
        (dict, "a mapping"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), "a value of an unknown type")


def typed(value: object) -> str:
    """What a value of the wrong type is: `5 is a number`, `this is a mapping`."""
    name = type_name(value)
    what = shown(value)
    return f"{'this' if what == name else what} is {name}"


def shown_key(key: str) -> str:
    """A mapping key as it may appear in a field path."""
    return _escaped(key, 63)


def safe_name(name: str) -> str:
    """A name that is safe to print and different for different names; valid names stay as they are.

    Anything outside `A-Za-z0-9._-` is escaped (the backslash too, which keeps the result unique); a name
    longer than Kubernetes allows is cut and ends in a digest of the whole.
    """
    if len(name) <= _LONGEST_NAME and not _UNSAFE_RE.search(name):
        return name
    if len(name) <= _LONGEST_NAME:
        return _UNSAFE_RE.sub(_escape, name)
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{_UNSAFE_RE.sub(_escape, name[:40])}...\\{digest}"


def _qualified_part_problem(text: str) -> str:
    if len(text) > 63:
        return "has more than 63 characters"
    if _QUALIFIED_PART_RE.fullmatch(text):
        return ""
    return "may only hold letters, digits, '-', '_' and '.', and must start and end with a letter or digit"


def _escaped(text: str, length: int) -> str:
    """The start of a text, printable. Only that start is looked at: the text may have 10 MB."""
    if len(text) <= length and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    start = text[: length + 1]
    safe = "".join(
        char if char.isprintable() and char not in '"\\' else _escape_char(char) for char in start[:length]
    )
    return f"{safe}..." if len(start) > length else safe


def _escape_char(char: str) -> str:
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}.get(char) or _as_hex(char)


def _escape(match: re.Match[str]) -> str:
    return _as_hex(match.group())


def _as_hex(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def counted(number: int, thing: str) -> str:
    """`1 pod`, `3 pods`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
