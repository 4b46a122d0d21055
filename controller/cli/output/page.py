"""The matrix as one HTML page: nothing is loaded from anywhere, no script runs, every text is escaped.

The content security policy says the same to the browser, should an escape ever be missing.
"""

from collections.abc import Iterator

from controller.cli.output.escapes import in_html
from controller.cli.output.parties import Picture
from controller.cli.output.summary import legend, range_notes, summarise
from controller.engine.connections import EVERYTHING, ConnectionSet
from controller.engine.matrix import Matrix

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --all: #2a9d5c; --some: #e0a526; --faint: #888; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
.grid { overflow: auto; max-height: 85vh; width: fit-content; max-width: 100%;
  border: 1px solid var(--line); }
.grid table { border-collapse: separate; border-spacing: 0; }
.grid th, .grid td { border-right: 1px solid var(--line); border-bottom: 1px solid var(--line); }
.grid td { width: 1.5rem; min-width: 1.5rem; text-align: center; }
.grid thead th { position: sticky; top: 0; background: Canvas; z-index: 1; vertical-align: bottom; }
.grid thead th span { writing-mode: vertical-rl; transform: rotate(180deg); font-weight: normal;
  padding: .3rem 0; }
.grid tbody th { position: sticky; left: 0; background: Canvas; text-align: left; font-weight: normal;
  white-space: nowrap; padding: 0 .6rem; }
.grid thead th:first-child { left: 0; z-index: 2; font-weight: normal; text-align: left;
  padding: .4rem .6rem; }
.grid tr:hover > * { background-color: color-mix(in srgb, Highlight 14%, Canvas); }
.all { background: var(--all); color: #fff; } .some { background: var(--some); color: #000; }
.grid tr:hover > .all { background: var(--all); } .grid tr:hover > .some { background: var(--some); }
.none { background: repeating-linear-gradient(45deg, transparent 0 3px, var(--line) 3px 4px); }
.list { border-collapse: collapse; } .list th { text-align: left; }
.list td, .list th { padding: .15rem 1.5rem .15rem 0; border-bottom: 1px solid var(--line); }
p, li { max-width: 60rem; } .faint { color: var(--faint); }
""".strip()

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>Who may talk to whom</title>
<style>"""


def matrix_html(matrix: Matrix, picture: Picture[ConnectionSet], port: str | None = None) -> str:
    """The page; with `port` the matrix has been reduced to that one."""
    return "".join(f"{line}\n" for line in _page(matrix, picture, port))


def _page(matrix: Matrix, picture: Picture[ConnectionSet], port: str | None) -> Iterator[str]:
    yield _HEAD
    yield _STYLE
    yield "</style>"
    yield "</head>"
    yield "<body>"
    yield f"<h1>Who may talk to whom{f' on {in_html(port)}' if port else ''}</h1>"
    yield (
        '<p class="faint">From the row to the column: '
        '<span class="all">&nbsp;&#10003;&nbsp;</span> everything, '
        '<span class="some">&nbsp;+&nbsp;</span> some ports (point at a cell, or see the list), '
        "an empty cell nothing. A pod always reaches itself, and a node the pods it runs.</p>"
    )
    yield from _grid(picture, port)
    yield from _list(matrix, picture)
    yield "</body>"
    yield "</html>"


def _grid(picture: Picture[ConnectionSet], port: str | None) -> Iterator[str]:
    titles = {number: in_html(picture.parties[number].title) for number in picture.listed}
    yield '<div class="grid"><table>'
    heads = "".join(f"<th scope=col><span>{title}</span></th>" for title in titles.values())
    yield f"<thead><tr><th>from \\ to</th>{heads}</tr></thead>"
    yield "<tbody>"
    for row, title in titles.items():
        cells = "".join(_cell(picture, row, column, titles, port) for column in titles)
        yield f"<tr><th scope=row>{title}</th>{cells}</tr>"
    yield "</tbody></table></div>"


def _cell(
    picture: Picture[ConnectionSet], row: int, column: int, titles: dict[int, str], port: str | None
) -> str:
    if picture.says_nothing_of(row, column) or picture.is_itself(row, column):
        return "<td class=none></td>"
    allowed = picture.edges.get((row, column))
    if allowed is None:
        return "<td></td>"
    look, mark = ("all", "&#10003;") if port or allowed == EVERYTHING else ("some", "+")
    return f'<td class={look} title="{titles[row]} to {titles[column]}: {in_html(str(allowed))}">{mark}</td>'


def _list(matrix: Matrix, picture: Picture[ConnectionSet]) -> Iterator[str]:
    lines = summarise(picture)
    yield "<h2>Connections</h2>"
    yield '<table class="list">'
    yield "<thead><tr><th>from</th><th>to</th><th>ports</th></tr></thead>"
    yield "<tbody>"
    for line in lines:
        texts = (line.source.title, line.destination.title, str(line.label))
        yield f"<tr>{''.join(f'<td>{in_html(text)}</td>' for text in texts)}</tr>"
    yield "</tbody></table>"
    yield '<ul class="faint">'
    for text in (*legend(lines), *range_notes(matrix.externals, picture)):
        yield f"<li>{in_html(text)}</li>"
    yield "</ul>"
