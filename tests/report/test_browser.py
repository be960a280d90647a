"""The checks of pages find what they are there for: each of these pages has one thing wrong, and one has nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.report import page_checks as checks
from tests.report.browser import Opened, find_chromium, opened

Put = Callable[[str], Path]

GOOD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A good page</title>
<style>
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --blue: #0645ad; }
@media (prefers-color-scheme: dark) { :root { --ink: #eee; --paper: #111; --blue: #9bf; } }
body { color: var(--ink); background: var(--paper); font: 16px sans-serif; margin: 16px; }
a { color: var(--blue); }
button, summary, input { min-height: 24px; min-width: 24px; font: inherit; }
.scroll { overflow-x: auto; }
.faded { opacity: 0.9; }
.skip { position: absolute; left: -999px; }
.skip:focus { left: 0; background: var(--paper); }
@media print { .scroll { overflow: visible; } .wide { width: auto !important; } }
/*more*/
</style>
</head>
<body>
<a class="skip" href="#main">Skip to the page</a>
<main id="main">
<h1>A good page</h1>
<p class="faded">It has <a href="https://example.org/">a link</a> in a sentence.</p>
<h2>A table</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Times">
<table class="wide" style="width: 900px"><caption>Times</caption>
<tr><th scope="col">Format<th scope="col">Seconds
<tr><td>hdf5<td>1.5
</table>
</div>
<svg role="img" aria-label="A bar" viewBox="0 0 200 30" width="200" height="30">
<rect width="150" height="30" fill="#036"/><text x="5" y="20" fill="#fff">hdf5</text>
</svg>
<img alt="" width="10" height="10" src="data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7">
<p><label>Filter <input type="text"></label> <button id="b">Sort</button></p>
<fieldset><legend>Scale</legend>
<label><input type="radio" name="s" checked> linear</label> <label><input type="radio" name="s"> log</label>
</fieldset>
<details><summary>More</summary><p>Folded away.</p></details>
<!--more-->
</main>
<script>document.getElementById("b").addEventListener("click", e => { e.target.textContent = "Sorted"; });</script>
</body>
</html>
"""


def changed(old: str, new: str) -> str:
    """Return the good page with one thing changed."""
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


def body(html: str) -> str:
    return changed("<!--more-->", html)


def style(css: str) -> str:
    return changed("/*more*/", css)


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str], Path]:
    """Write a page with a space in its name, as folders of users have."""

    def go(html: str) -> Path:
        path = tmp_path / "a page.html"
        path.write_text(html, encoding="utf-8")
        return path

    return go


def test_good_page_has_no_static_problem():
    assert checks.static_problems(GOOD) == []


STATIC = {
    "doctype": (changed("<!doctype html>", ""), "doctype"),
    "language": (changed(' lang="en"', ""), "no lang"),
    "title": (changed("<title>A good page</title>", ""), "no title"),
    "encoding": (changed('<meta charset="utf-8">', ""), "charset"),
    "viewport": (changed("width=device-width, ", ""), "device-width"),
    "duplicate id": (body('<p id="b">x</p>'), "'b' is used 2 times"),
    "dead reference": (body('<p aria-describedby="gone">x</p>'), "'gone', which is not there"),
    "dead anchor": (body('<p>See <a href="#gone">x</a>.</p>'), "nothing has the id 'gone'"),
    "two h1": (body("<h1>Again</h1>"), "2 h1"),
    "no main": (GOOD.replace("main>", "div>").replace("<main id", "<div id"), "0 main"),
    "label of nothing": (body("<label for='gone'>x</label>"), "'gone'"),
    "open element": (body("<div>x"), "never ended"),
    "stray end": (body("x</span>"), "ends nothing"),
    "image of the network": (body('<img alt="" src="http://127.0.0.1/x.png">'), "src loads http"),
    "image beside the page": (body('<img alt="" src="plot.png">'), "src loads plot.png"),
    "image without scheme": (body('<img alt="" src="//example.org/x.png">'), "src loads //"),
    "image set": (body('<img alt="" src="data:," srcset="data:, 1x, https://example.org/x 2x">'), "srcset loads"),
    "style sheet": (body('<link rel="stylesheet" href="https://example.org/x.css">'), "loads https"),
    "warmed-up connection": (body('<link rel="preconnect" href="https://example.org">'), "loads https"),
    "link to a file": (body('<p>See <a href="samples.csv">x</a>.</p>'), "which is not in the page"),
    "link that runs": (body('<p>See <a href="javascript:x()">x</a>.</p>'), "which is not in the page"),
    "used drawing": (body('<svg aria-hidden="true"><use href="icons.svg#x"/></svg>'), "loads icons.svg"),
    "background": (style("body { background: url('https://example.org/x.png') }"), "loads https"),
    "background in an attribute": (body("<p style='background: url(x.png)'>x</p>"), "loads x.png"),
    "import": (style("@import 'x.css';"), "imports"),
    "font": (style("@font-face { font-family: x; src: url(https://example.org/x.woff2) }"), "loads https"),
    "image-set": (style("p { background: image-set('https://example.org/x.png' 1x) }"), "names https"),
    "script": (body("<script src='https://example.org/x.js'></script>"), "src loads"),
    "fetch": (body("<script>fetch('https://example.org/')</script>"), "asks the network"),
    "socket": (body("<script>new WebSocket('wss://example.org/')</script>"), "asks the network"),
    "module": (body("<script type=module>import x from 'https://example.org/x.js'</script>"), "asks the network"),
    "drawing without role": (body('<svg aria-label="x"></svg>'), "neither hidden nor an image"),
    "drawing without name": (body('<svg role="img"><g><path d=""/></g></svg>'), "neither hidden nor an image"),
    "table without caption": (changed("<caption>Times</caption>", ""), "caption"),
    "th without scope": (changed('<th scope="col">Seconds', "<th>Seconds"), "scope"),
    "refresh": (body("<meta http-equiv=refresh content='1; url=https://example.org'>"), "sends the reader away"),
}


@pytest.mark.parametrize(("html", "said"), STATIC.values(), ids=STATIC)
def test_static_problem_is_found(html: str, said: str):
    assert [p for p in checks.static_problems(html) if said in p]


def test_what_is_inside_the_page_is_no_problem():
    html = body(
        "<svg aria-hidden='true'><defs><clipPath id='c'/></defs><g clip-path='url(#c)'/></svg>"
        "<script>document.createElementNS('http://www.w3.org/2000/svg', 'g'); prefetched(1)</script>"
        '<script type=\'application/json\'>{"a": "fetch(1) </b> http://example.org"}</script>'
    )
    assert checks.static_problems(html) == []


TEXT = "some text to be read"
NARROW = checks.layout_problems
BAD = {
    # Found by axe.
    "faint text": (body(f"<p style='color: #999'>{TEXT}</p>"), checks.axe_problems, "color-contrast"),
    "faded text": (body(f"<p style='opacity: .5'>{TEXT}</p>"), checks.axe_problems, "color-contrast"),
    "folded text": (body(f"<details><summary>more</summary><p style='color: #999'>{TEXT}</p></details>"),
                    checks.axe_problems, "color-contrast"),
    "tiny target": (body("<button style='display: block; min-height: 0; height: 9px'>x</button>" * 3),
                    checks.axe_problems, "target-size"),
    "zoom": (changed("initial-scale=1", "user-scalable=no"), checks.axe_problems, "meta-viewport"),
    "skipped heading": (changed("<h2>A table</h2>", "<h3>A table</h3>"), checks.axe_problems, "heading-order"),
    "missing alt": (body('<img src="data:,">'), checks.axe_problems, "image-alt"),
    "drawing without name": (body('<svg role="img"><g><path d=""/></g></svg>'), checks.axe_problems, "svg-img-alt"),
    "empty link": (body('<a href="https://example.org/"><svg aria-hidden="true"></svg></a>'),
                   checks.axe_problems, "link-name"),
    "empty button": (body("<button><span aria-hidden='true'>x</span></button>"), checks.axe_problems, "button-name"),
    "nameless to a reader": (body("<div role=button tabindex=0></div>"), checks.axe_problems, "command-name"),
    "input without label": (body("<input type=text>"), checks.axe_problems, "label"),
    "positive tabindex": (body("<p tabindex=2>x</p>"), checks.axe_problems, "tabindex"),
    "region without focus": (changed(' tabindex="0"', ""), NARROW, "no region with a label"),
    # Found by ours.
    "text on a bar": (changed('fill="#fff"', 'fill="#333"'), checks.drawing_problems, "not 4.5"),
    "text on the page": (changed('<text x="5"', '<text x="160"').replace(">hdf5</text", ">a</text"),
                         checks.drawing_problems, "contrast of 1.00"),
    "wide page": (body("<div style='width: 500px'>x</div>"), NARROW, "ends at"),
    "wide page hidden": (body("<div style='width: 500px'>x</div><style>html, body { overflow-x: hidden }</style>"),
                         NARROW, "ends at"),
    "region without role": (changed(' role="region"', ""), NARROW, "no region with a label"),
    "region without label": (changed(' aria-label="Times"', ""), NARROW, "no region with a label"),
    "tiny text": (body("<p style='font-size: 9px'>x</p>"), NARROW, "text of 9px"),
    "unreachable": (body("<button tabindex=-1>Lost</button>"), checks.focus_problems, "not be reached"),
    "button of a div": (body("<div role=button>Lost</div>"), checks.focus_problems, "not be reached"),
    "trap": (body("<button onkeydown='event.preventDefault()'>Trap</button><button>After</button>"),
             checks.focus_problems, 'does not reach <button> "After"'),
    "other order": (body("<button tabindex=1>First</button>"), checks.focus_problems, "another order"),
    "unseen focus": (style("button:focus { outline: none }"), checks.focus_problems, "does not show"),
    "unseen focus by colour": (style("button:focus { outline-color: transparent }"), checks.focus_problems, "not show"),
    "wide on paper": (body("<pre style='width: 900px'>x</pre>"), checks.print_problems, "and there are"),
    "cut on paper": (changed("@media print { .scroll { overflow: visible; } .wide", "@media print { .other"),
                     checks.print_problems, "on paper"),
    "endless on paper": (style("h2 { height: 60000px }"), checks.print_problems, "prints on 5"),
}  # fmt: skip


@pytest.fixture(scope="module")
def windows(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Opened]]:
    """A window of each width, open for all pages with one thing wrong: a window of its own for each takes longest."""
    path = tmp_path_factory.mktemp("good") / "good.html"
    path.write_text(GOOD, encoding="utf-8")
    with opened(browser, path, width=360) as narrow, opened(browser, path) as wide:
        yield {360: narrow, 1280: wide}


@pytest.mark.slow
@pytest.mark.parametrize(("html", "check", "said"), BAD.values(), ids=BAD)
def test_problem_is_found(windows: dict[int, Opened], put: Put, html: str, check: Callable, said: str):
    window = windows[360 if check is NARROW else 1280]
    window.go(put(html))
    found = check(window)
    assert [p for p in found if said in p], found


@pytest.mark.slow
def test_good_page_has_no_problem_in_the_browser(browser: Any, put: Put):
    assert checks.browser_problems(browser, put(GOOD)) == []


@pytest.mark.slow
@pytest.mark.parametrize("change", [("--ink: #eee", "--ink: #444"), ('fill="#036"', 'fill="var(--ink)"')])
def test_contrast_that_fails_only_in_the_dark_is_found_only_there(browser: Any, put: Put, change: tuple[str, str]):
    with opened(browser, put(changed(*change))) as page:
        assert checks.axe_problems(page) + checks.drawing_problems(page) == []
        page.page.emulate_media(color_scheme="dark")
        assert checks.axe_problems(page) + checks.drawing_problems(page)


SAID = {
    "console error": ("<script>console.error('oh', 1)</script>", "error: oh 1"),
    "exception": ("<script>throw new Error('oh')</script>", "exception: oh"),
    "later exception": ("<script>Promise.reject(new Error('late'))</script>", "exception: late"),
    "dialog": ("<script>alert('hello')</script>", "dialog: hello"),
}


@pytest.mark.parametrize(("html", "said"), SAID.values(), ids=SAID)
def test_what_a_page_says_is_kept(browser: Any, put: Put, html: str, said: str):
    with opened(browser, put(body(html))) as page:
        assert said in page.console


@pytest.mark.parametrize(
    "html",
    [
        "<img alt='' src='{}'>",
        "<script>fetch('{}').catch(() => 0)</script>",
        "<style>p {{ background: url({}) }}</style>",
        "<img alt='' src='plot.png'>",
    ],
    ids=["image", "fetch", "style", "beside"],
)
def test_request_that_leaves_the_page_is_found(browser: Any, put: Put, html: str):
    with opened(browser, put(body(html.format("http://127.0.0.1:9/x.png")))) as page:
        assert [url.rpartition("/")[2] for url in page.outside] in (["x.png"], ["plot.png"])


def test_missing_chromium_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HARNESS_CHROMIUM", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match="HARNESS_CHROMIUM"):
        find_chromium()
    monkeypatch.delenv("HARNESS_CHROMIUM")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_chromium() is None
