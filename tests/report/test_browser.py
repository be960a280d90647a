"""The checks of pages find what they are there for: each of these pages has one thing wrong, and one has nothing."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.report import page_checks as checks
from tests.report.browser import Browser, BrowserError, find_chromium

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
    "zoom": (changed("initial-scale=1", "user-scalable=no"), "forbids to zoom"),
    "duplicate id": (body('<p id="b">x</p>'), "'b' is used 2 times"),
    "dead reference": (body('<p aria-describedby="gone">x</p>'), "'gone', which is not there"),
    "dead anchor": (body('<p>See <a href="#gone">x</a>.</p>'), "nothing has the id 'gone'"),
    "skipped heading": (changed("<h2>A table</h2>", "<h3>A table</h3>"), "skips a level: h1"),
    "two h1": (body("<h1>Again</h1>"), "2 h1"),
    "no main": (GOOD.replace("main>", "div>").replace("<main id", "<div id"), "0 main"),
    "missing alt": (body('<img src="data:,">'), "no alt"),
    "drawing without role": (body('<svg aria-label="x"></svg>'), "neither role"),
    "drawing without name": (body('<svg role="img"><g><path d=""/></g></svg>'), "has no name"),
    "drawing named by nothing": (body('<svg role="img" aria-labelledby="gone"></svg>'), "has no name"),
    "table without caption": (changed("<caption>Times</caption>", ""), "caption"),
    "th without scope": (changed('<th scope="col">Seconds', "<th>Seconds"), "scope"),
    "empty link": (body('<a href="https://example.org/"><svg aria-hidden="true"></svg></a>'), "link without text"),
    "empty button": (body("<button><span aria-hidden='true'>x</span></button>"), "button without a name"),
    "input without label": (body("<input type=text>"), "no label"),
    "label of nothing": (body("<label for='gone'>x</label>"), "'gone'"),
    "positive tabindex": (body("<p tabindex=2>x</p>"), "positive tabindex"),
    "region without label": (changed(' aria-label="Times"', ""), "role region and no label"),
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
    "font": (style("@font-face { font-family: x; src: url(https://example.org/x.woff2) }"), "loads a font"),
    "image-set": (style("p { background: image-set('https://example.org/x.png' 1x) }"), "names https"),
    "script": (body("<script src='https://example.org/x.js'></script>"), "src loads"),
    "fetch": (body("<script>fetch('https://example.org/')</script>"), "asks the network"),
    "socket": (body("<script>new WebSocket('wss://example.org/')</script>"), "asks the network"),
    "module": (body("<script type=module>import x from 'https://example.org/x.js'</script>"), "asks the network"),
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


def test_good_page_has_no_problem_in_the_browser(browser: Browser, put: Callable[[str], Path]):
    assert checks.browser_problems(browser, put(GOOD)) == []


WIDE = "<div style='width: 500px'>x</div>"
BAD = {
    "faint text": (body("<p style='color: #999'>x</p>"), checks.contrast_problems, "2.85, less than 4.5"),
    "faint large text": (body("<p style='font-size: 24px; color: #aaa'>x</p>"), checks.contrast_problems, "than 3 "),
    "faded text": (body("<p style='opacity: .5'>x</p>"), checks.contrast_problems, "less than 4.5"),
    "folded text": (body("<details><summary>y</summary><p style='color: #999'>x</p></details>"),
                    checks.contrast_problems, "less than 4.5"),
    "text on a gradient": (body("<p style='background: linear-gradient(#fff, #222)'>x</p>"),
                           checks.contrast_problems, "is 1.00"),
    "text on a picture": (body("<p style='background: url(data:,)'>x</p>"), checks.contrast_problems, "be told"),
    "text on a bar": (changed('fill="#fff"', 'fill="#333"'), checks.contrast_problems, "less than 4.5"),
    "text on a neighbour": (body("<div style='position: relative'><div style='background: #777; height: 3em'></div>"
                                 "<span style='position: absolute; top: 0'>x</span></div>"),
                            checks.contrast_problems, "on #777777"),
    "text on a photograph": (body("<div style='position: relative'><img alt='' src='data:,' width=99 height=99>"
                                  "<span style='position: absolute; top: 0; left: 0'>x</span></div>"),
                             checks.contrast_problems, "be told"),
    "text of a field": (style("input { color: #999 }").replace("<input type=\"text\"", "<input value=x"),
                        checks.contrast_problems, "less than 4.5"),
    "wide page": (body(WIDE), checks.overflow_problems, "in a window of 360 px"),
    "wide page hidden": (body(WIDE + "<style>html, body { overflow-x: hidden }</style>"),
                         checks.overflow_problems, "ends at"),
    "region without focus": (changed(' tabindex="0"', ""), checks.overflow_problems, "cannot be reached"),
    "region without role": (changed(' role="region"', ""), checks.overflow_problems, "no region with a label"),
    "tiny text": (body("<p style='font-size: 9px'>x</p>"), checks.text_size_problems, "text of 9px"),
    "tiny target": (body("<button style='min-height: 0; height: 18px'>x</button>"), checks.target_problems, "18.0 px"),
    "unreachable": (body("<button tabindex=-1>Lost</button>"), checks.focus_problems, "not be reached"),
    "button of a div": (body("<div role=button>Lost</div>"), checks.focus_problems, "not be reached"),
    "trap": (body("<button onkeydown='event.preventDefault()'>Trap</button><button>After</button>"),
             checks.focus_problems, 'does not reach <button> "After"'),
    "other order": (body("<button tabindex=1>First</button>"), checks.focus_problems, "another order"),
    "unseen focus": (style("button:focus { outline: none }"), checks.focus_problems, "does not show"),
    "unseen focus by colour": (style("button:focus { outline-color: transparent }"), checks.focus_problems, "not show"),
    "nameless to a reader": (body("<div role=button tabindex=0></div>"), checks.tree_problems, "button without a name"),
    "wide on paper": (body("<pre style='width: 900px'>x</pre>"), checks.print_problems, "on paper"),
    "cut on paper": (changed("@media print { .scroll { overflow: visible; } .wide", "@media print { .other"),
                     checks.print_problems, "on paper"),
    "endless on paper": (style("h2 { height: 60000px }"), checks.print_problems, "prints on 5"),
    "console error": (body("<script>console.error('oh', 1)</script>"), checks.console_problems, "error: oh 1"),
    "exception": (body("<script>throw new Error('oh')</script>"), checks.console_problems, "exception: Error: oh"),
    "later exception": (body("<script>Promise.reject(new Error('late'))</script>"), checks.console_problems, "late"),
    "dialog": (body("<script>alert('hello')</script>"), checks.console_problems, "dialog: hello"),
}  # fmt: skip


@pytest.mark.parametrize(("html", "check", "said"), BAD.values(), ids=BAD)
def test_problem_is_found(browser: Browser, put: Callable[[str], Path], html: str, check: Callable, said: str):
    with browser.open(put(html), width=360 if check is checks.overflow_problems else 1280) as page:
        assert [p for p in check(page) if said in p], check(page)


def test_wide_page_is_found_on_a_telephone_that_zooms_out(browser: Browser, put: Callable[[str], Path]):
    with browser.open(put(body(WIDE)), width=360, mobile=True) as page:
        assert page.evaluate("innerWidth") > 360  # so it cannot be what a page is measured by
        assert checks.overflow_problems(page)


def test_contrast_that_fails_only_in_the_dark_is_found_only_there(browser: Browser, put: Callable[[str], Path]):
    with browser.open(put(changed("--ink: #eee", "--ink: #444"))) as page:
        assert checks.contrast_problems(page) == []
        page.media("dark")
        assert [p for p in checks.contrast_problems(page) if "#444444 on #111111" in p]


def test_page_without_colours_is_measured_on_the_canvas_of_its_scheme(browser: Browser, put: Callable[[str], Path]):
    html = "<!doctype html><title>x</title><style>:root { color-scheme: light dark }</style><p style='color: #000'>x"
    with browser.open(put(html)) as page:
        assert checks.contrast_problems(page) == []
        page.media("dark")
        assert checks.contrast_problems(page)


def test_drawing_with_lines_and_turned_text_is_good(browser: Browser, put: Callable[[str], Path]):
    drawing = """<svg role="img" aria-labelledby="t" width="200" height="200" viewBox="0 0 100 100">
        <title id="t">Bars</title><rect width="100" height="100" fill="#fff"/>
        <line x1="0" x2="100" y1="50" y2="50" stroke="#000" stroke-width="20"/>
        <path d="M0 0L100 100" fill="none" stroke="#eee"/><text x="50" y="52" fill="#111">on</text>
        <text transform="translate(20 90) rotate(-90)" font-size="14" fill="#888">turned</text></svg>"""
    assert checks.static_problems(body(drawing)) == []
    with browser.open(put(body(drawing))) as page:
        assert checks.contrast_problems(page) == []
        page.evaluate("document.querySelector('[transform]').setAttribute('fill', '#aaa')")
        assert [p for p in checks.contrast_problems(page) if "turned" in p and "less than 3 " in p]


@pytest.mark.parametrize(
    "html",
    [
        "<img alt='' src='{url}'>",
        "<script>fetch('{url}').catch(() => 0)</script>",
        "<style>p {{ background: url({url}) }}",
    ],
    ids=["image", "fetch", "style"],
)
def test_request_that_leaves_the_page_is_found(browser: Browser, put: Callable[[str], Path], html: str):
    with socket.socket() as closed:  # bound, never listening: nothing leaves this machine
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/x.png"
        with browser.open(put(body(html.format(url=url)))) as page:
            assert page.outside() == [url]
            assert checks.request_problems(page)
            assert checks.console_problems(page)


def test_keys_mouse_and_touch_arrive(browser: Browser, put: Callable[[str], Path]):
    html = """<p id=heard>-</p><script>for (const name of ['keydown', 'click', 'mousemove', 'touchstart'])
        addEventListener(name, e => { heard.textContent += `${name}:${e.key || e.pointerType || ''} `; })</script>"""
    with browser.open(put(body(html)), width=360, mobile=True) as page:
        for key in ("Tab", "Escape"):
            page.press(key)
        page.tap(*page.where("#b"))
        page.viewport(1280)
        page.click(*page.where("#b"))
        page.evaluate("document.querySelector('summary').focus()")
        page.press("Enter")
        said = page.evaluate("heard.textContent")
        assert page.evaluate("document.querySelector('details').open")
    for each in ("keydown:Tab", "keydown:Escape", "touchstart:", "click:touch", "mousemove:", "click:mouse"):
        assert each in said


def test_page_without_javascript(browser: Browser, put: Callable[[str], Path]):
    path = put(body("<p id=x>without</p><script>document.getElementById('x').textContent = 'with'</script>"))
    for javascript, said in ((True, "with"), (False, "without")):
        with browser.open(path, javascript=javascript) as page:
            assert page.evaluate("document.getElementById('x').textContent") == said


def test_pictures_and_paper(browser: Browser, put: Callable[[str], Path], tmp_path: Path):
    with browser.open(put(style("h2 { margin-top: 3000px }"))) as page:
        png, pdf = page.screenshot(tmp_path / "x.png"), page.pdf()
        assert any(node["role"]["value"] == "main" for node in page.tree())
        width = page.evaluate("document.documentElement.clientWidth")  # without a scroll bar
    assert (tmp_path / "x.png").read_bytes() == png
    assert int.from_bytes(png[16:20], "big") == width
    assert int.from_bytes(png[20:24], "big") > 3000
    assert pdf.startswith(b"%PDF-")


def test_hanging_page_ends_with_its_browser(put: Callable[[str], Path]):
    if not find_chromium():
        pytest.skip("No Chromium was found on this machine, so no page can be opened.")
    with Browser() as browser:
        folder, process = browser._folder, browser._process
        page = browser.open(put(GOOD))
        browser.timeout = 1
        with pytest.raises(BrowserError, match="no answer"):
            page.evaluate("(() => { for (;;); })()")
        started = time.monotonic()
    assert time.monotonic() - started < 30
    assert not folder.exists()
    assert process.returncode is not None


def test_missing_or_broken_chromium_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HARNESS_CHROMIUM", str(tmp_path / "gone"))
    with pytest.raises(BrowserError, match="HARNESS_CHROMIUM"):
        find_chromium()
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho it cannot start >&2\nexit 3\n")
    broken.chmod(0o755)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0  # noqa: PTH208
    with pytest.raises(BrowserError, match="it cannot start"), Browser(str(broken)):
        pass
    assert not before or len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    monkeypatch.delenv("HARNESS_CHROMIUM")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_chromium() is None
    with pytest.raises(BrowserError, match="No Chromium"), Browser():
        pass
