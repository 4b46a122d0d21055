"""Writes docs/lint.md from the codes, so that the page and `podgate lint --explain` never differ.

.venv/bin/python hack/docs/lint_codes.py            # write the page
.venv/bin/python hack/docs/lint_codes.py --check    # exit 1 if the page is stale
"""

import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

from controller.engine.lint.codes import GROUPS, SEVERITIES
from controller.objects.codes import CODES as READER_CODES
from controller.objects.codes import Explanation
from controller.objects.findings import Severity

PAGE = Path(__file__).parents[2] / "docs" / "lint.md"
"""The page that is written."""

_WIDTH = 120
_INTRODUCTION = """\
# What `podgate lint` finds

<!-- Written by hack/docs/lint_codes.py. The texts are in controller/{objects,engine/lint}/codes.py. -->

`podgate lint -f DIR` reads manifests and says what is wrong with the policies, and what they do not mean
although it looks so. Each finding names the object, the field, what is wrong and what to do:

```
warning[peer-matches-no-pod]: no pod of namespace shop, where a podSelector alone looks, matches app=apii
  --> shop.yaml:79  spec.ingress[0].from[1].podSelector
     79 |     - podSelector: {matchLabels: {app: apii}}
  help: did you mean app=api (shop/api)?
```

| severity | meaning |
| --- | --- |
| error | The API server refuses it, or podgate cannot read it. The wrong part matches nothing. |
| warning | Accepted, and probably not what was meant. |
| info | Worth knowing. |

Exit code 0: nothing as grave as `--fail-on` (default `warning`). 1: something is. 2: an error is among the
findings, or the call was wrong; with `--strict` a warning is enough. `-o json|sarif|junit|md` is for programs
and code hosts, `--explain CODE` prints an entry of this page.

Checks of selectors compare with the pods of the input: give lint the manifests of workloads and namespaces
too, or a whole cluster (`kubectl get netpol,pods,ns,nodes -A -o yaml | podgate lint -f -`). Where the
input cannot tell, a finding is info.
"""
_READER_NOTE = "Found while reading, by every verb. Errors, unless the finding says otherwise."


def main(arguments: list[str]) -> int:
    """Write the page, or check it. Returns the exit code."""
    text = page()
    if "--check" not in arguments:
        PAGE.write_text(text)
        return 0
    if PAGE.read_text() == text:
        return 0
    print(f"{PAGE.name} is stale: run hack/docs/lint_codes.py", file=sys.stderr)
    return 1


def page() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _INTRODUCTION
    for title, codes in _sections().items():
        links = " · ".join(f"[{code}](#{code})" for code in codes)
        yield f"- {title}: {links}"
    for title, codes in _sections().items():
        yield ""
        yield f"## {title}"
        if codes is READER_CODES:
            yield ""
            yield _READER_NOTE
        for code, explanation in codes.items():
            yield ""
            yield from _entry(code, explanation)


def _sections() -> Mapping[str, Mapping[str, Explanation]]:
    return {**GROUPS, "Input that cannot be read or is refused": READER_CODES}


def _entry(code: str, explanation: Explanation) -> Iterator[str]:
    severity = SEVERITIES.get(code)
    yield f"### {code}"
    yield ""
    yield f"**{explanation.title}**" + (f" ({severity})" if isinstance(severity, Severity) else "")
    yield ""
    yield from _wrapped(explanation.meaning)
    yield ""
    yield from _wrapped(f"What to do: {explanation.remedy}")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
