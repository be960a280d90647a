"""What is wrong with a page: each check returns sentences, and an empty list where there is nothing to say.

`static_problems` reads the text alone. `browser_problems` opens the page in Chromium: axe looks for what is not
accessible, and the rest is what axe does not look at.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.report.browser import Opened, opened

WIDTHS = (360, 1280)
MOST_PRINTED = 40
PRINT_WIDTH = 717  # CSS pixels of A4 between margins of 0.4 inches

VOID = frozenset(("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"))
MAY_STAY_OPEN = frozenset(("html", "head", "body", "thead", "tbody", "tfoot", "colgroup", "td", "th", "tr", "dt", "dd"))
MAY_STAY_OPEN |= {"li", "option", "p"}
POINTS_TO = ("for", "aria-labelledby", "aria-describedby", "aria-controls", "aria-owns", "aria-details", "headers")
LOADS = ("src", "srcset", "poster", "data", "action", "formaction", "background", "manifest", "ping", "imagesrcset")
PAINTS = ("style", "fill", "stroke", "clip-path", "mask", "filter")
ASKS = re.compile(
    r"\b(?:fetch|importScripts|sendBeacon|import)\s*\(|\bnew\s+(?:XMLHttpRequest|WebSocket|EventSource|\w*Worker)\b"
    r"|^\s*import\b[^(\n]*['\"]",
    re.MULTILINE,
)
STYLE_URL = re.compile(r"url\(\s*['\"]?\s*([^'\")\s]*)", re.IGNORECASE)


@dataclass
class _Element:
    tag: str
    attributes: dict[str, str]
    line: int
    above: tuple[_Element, ...] = ()
    text: str = ""

    def __str__(self) -> str:
        names = "".join(f' {name}="{self.get(name)[:40]}"' for name in ("id", "class", "href") if self.get(name))
        return f"<{self.tag}{names}> of line {self.line}"

    def get(self, name: str) -> str:
        return self.attributes.get(name, "").strip()


class _Reader(HTMLParser):
    """Lists a page's elements, each with the text that directly follows its start, and notes what does not nest."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[_Element] = []
        self.open: list[_Element] = []
        self.doctype = ""
        self.problems: list[str] = []
        self.feed(text)
        self.close()
        self._leave(0)

    def handle_decl(self, decl: str) -> None:
        self.doctype = self.doctype or decl

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]], closed: bool = False) -> None:
        element = _Element(tag, {name: value or "" for name, value in reversed(attrs)}, self.getpos()[0], (*self.open,))
        twice = [name for name, count in Counter(name for name, _ in attrs).items() if count > 1]
        self.problems += [f"{element} has the attribute {name} twice." for name in twice]
        self.elements.append(element)
        if tag not in VOID and not closed:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs, closed=any(e.tag in ("svg", "math") for e in self.open) or tag == "svg")

    def handle_endtag(self, tag: str) -> None:
        place = next((k for k in reversed(range(len(self.open))) if self.open[k].tag == tag), None)
        if place is not None:
            self._leave(place + 1)
            self.open.pop()
        elif tag not in VOID:
            self.problems.append(f"</{tag}> of line {self.getpos()[0]} ends nothing.")

    def _leave(self, place: int) -> None:
        self.problems += [f"{e} is never ended." for e in self.open[place:] if e.tag not in MAY_STAY_OPEN]
        del self.open[place:]

    def handle_data(self, data: str) -> None:
        if self.open:
            self.open[-1].text += data


def static_problems(text: str) -> list[str]:
    """Return what can be seen to be wrong in a page's text: its structure, references, and what it would load."""
    reader = _Reader(text)
    found = list(reader.problems)
    if reader.doctype.lower() != "doctype html":
        found.append("It does not begin with <!doctype html>.")
    return [*found, *(problem for check in STATIC for problem in check(reader.elements))]


def _head(elements: list[_Element]) -> list[str]:
    """Language, title, encoding, viewport, one h1 and one main."""
    found = []
    metas = [e for e in elements if e.tag == "meta"]
    views = [e.get("content").replace(" ", "") for e in metas if e.get("name") == "viewport"]
    for there, said in (
        (any(e.get("lang") for e in elements if e.tag == "html"), "<html> has no lang."),
        (any(e.text.strip() for e in elements if e.tag == "title"), "It has no title."),
        (any(e.get("charset").lower() == "utf-8" for e in metas), "It has no <meta charset=utf-8>."),
        (any("width=device-width" in view for view in views), "Its viewport has no width=device-width."),
        (not any(e.get("http-equiv").lower() == "refresh" for e in metas), "It sends the reader away."),
    ):
        found += [] if there else [said]
    for tag in ("h1", "main"):
        count = sum(e.tag == tag for e in elements)
        found += [] if count == 1 else [f"It has {count} {tag}, not one."]
    return found


def _references(elements: list[_Element]) -> list[str]:
    """Ids are unique, and what refers to one finds it."""
    ids = Counter(e.get("id") for e in elements if "id" in e.attributes)
    found = [f"The id {name!r} is used {n} times." if name else "An id is empty." for name, n in ids.items() if n > 1]
    for e in elements:
        for name in POINTS_TO:
            missing = [target for target in e.get(name).split() if target not in ids]
            found += [f"{e}: {name} points to {target!r}, which is not there." for target in missing]
        for link in (e.get("href"), e.get("xlink:href")):
            if link.startswith("#") and link[1:] not in ids and link not in ("#", "#top"):
                found.append(f"{e}: nothing has the id {link[1:]!r}.")
    return found


def _names(elements: list[_Element]) -> list[str]:
    """Tables and drawings have names, and headers of a table say of what; axe sees to everything else."""
    captioned = {id(e.above[-1]) for e in elements if e.tag == "caption" and e.text.strip()}
    found = [f"{e} is a th without a scope." for e in elements if e.tag == "th" and not e.get("scope")]
    for e in elements:
        named = e.get("aria-label") or e.get("aria-labelledby")
        if e.tag == "table" and not named and id(e) not in captioned and e.get("role") not in ("presentation", "none"):
            found.append(f"{e} is a table without a caption or aria-label.")
        inside = any(a.tag == "svg" or a.get("role") == "img" or a.get("aria-hidden") == "true" for a in e.above)
        if e.tag == "svg" and not inside and e.get("aria-hidden") != "true" and not (named and e.get("role") == "img"):
            found.append(f"{e} is neither hidden nor an image with a name.")
    return found


def _loading(elements: list[_Element]) -> list[str]:
    """Nothing is loaded from elsewhere: the page is one file. Only a plain link may point away, and only to http(s)."""
    found = []
    for e in elements:
        for name in (n for n in LOADS if n in e.attributes and (n != "data" or e.tag == "object")):
            urls = [p.split()[0] for p in e.get(name).split(", ") if p.split()] if "srcset" in name else [e.get(name)]
            found += [f"{e}: {name} loads {url[:80]}." for url in urls if not _inside(url)]
        for link in (e.attributes.get("href"), e.attributes.get("xlink:href")):
            away = e.tag == "a" and re.match(r"https?://", (link or "").strip(), re.IGNORECASE)
            if link is not None and not _inside(link) and not away:
                found.append(f"{e} {'points to' if e.tag == 'a' else 'loads'} {link[:80]}, which is not in the page.")
        styles = [e.get(name) for name in PAINTS] + ([e.text] if e.tag == "style" else [])
        found += [f"{e} {problem}" for style in styles if style for problem in _style(style)]
        if e.tag == "script" and "json" not in e.get("type"):
            found += [f"{e} asks the network: {asked.group().strip()}" for asked in ASKS.finditer(e.text)]
    return found


def _inside(url: str) -> bool:
    return url.strip() == "" or url.strip().lower().startswith(("#", "data:", "blob:", "about:"))


def _style(style: str) -> list[str]:
    style = re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)
    found = ["imports another style."] if "@import" in style.lower() else []
    found += [f"loads {url[:80]}." for url in STYLE_URL.findall(style) if not _inside(url)]
    plain = re.sub(r"url\([^)]*\)|@namespace[^;]*;", "", style)
    return found + [f"names {url}." for url in re.findall(r"(?:https?:)?//[\w.-]+", plain)]


STATIC = (_head, _references, _names, _loading)

UNFOLD = "document.querySelectorAll('details').forEach(e => { e.open = true; })"

RULES = ("wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice")
AXE = """async rules => (await axe.run(document, {runOnly: rules})).violations.flatMap(v => v.nodes.map(
  n => `${v.id}: ${n.target.join(' ')}: ${n.any.concat(n.all, n.none).map(c => c.message).join(' ')}`))"""

SHARED = r"""
const name = e => `<${e.localName}> ${JSON.stringify((e.ariaLabel || e.textContent || '').trim().slice(0, 40))}`;
const above = e => { const list = []; for (; e; e = e.parentElement) list.push(e); return list; };
const tiny = e => above(e).some(a => {
  const r = a.getBoundingClientRect(), s = getComputedStyle(a);
  return s.position === 'absolute' && s.overflow !== 'visible' && (r.width <= 1 || r.height <= 1);
});
const texts = () => {
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), list = new Set();
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (/\S/.test(walk.currentNode.data) && e.checkVisibility({visibilityProperty: true, opacityProperty: true})
      && !e.closest('script,style') && !tiny(e)) list.add(e);
  }
  return [...list];
};
"""

# axe tells no contrast in drawings: there it is the text's colour on the nearest shape below its middle that is filled.
DRAWN = r"""
const rgba = text => (text.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number).concat(1).slice(0, 4);
const over = ([r, g, b, a], under) => [r, g, b].map((v, i) => a * v + (1 - a) * under[i]);
const light = c => c.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const paint = (e, x, y) => {
  const s = getComputedStyle(e), own = (e instanceof SVGElement && e.localName !== 'svg') ? s.fill : s.backgroundColor;
  if (e instanceof SVGGeometryElement && (s.fill === 'none'
    || !e.isPointInFill(new DOMPoint(x, y).matrixTransform(e.getScreenCTM().inverse())))) return [0, 0, 0, 0];
  if (e instanceof SVGElement && !(e instanceof SVGGeometryElement) && e.localName !== 'svg') return [0, 0, 0, 0];
  const c = rgba(own);
  return [...c.slice(0, 3), c[3] * (e instanceof SVGElement ? s.fillOpacity : 1) * s.opacity];
};
const every = document.head.appendChild(document.createElement('style'));
every.textContent = 'svg * { pointer-events: auto !important }';
const canvas = matchMedia('(prefers-color-scheme: dark)').matches
  && getComputedStyle(document.documentElement).colorScheme.includes('dark') ? [18, 18, 18] : [255, 255, 255];
const found = texts().filter(e => e.closest('svg') && getComputedStyle(e).fill !== 'none').flatMap(e => {
  e.scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'});
  const r = e.getBoundingClientRect(), x = r.x + r.width / 2, y = r.y + r.height / 2, s = getComputedStyle(e);
  const stack = document.elementsFromPoint(x, y), below = stack.slice(stack.indexOf(e) + 1).reverse();
  const back = below.reduce((under, o) => over(paint(o, x, y), under), canvas);
  const c = rgba(s.fill), front = over([...c.slice(0, 3), c[3] * s.fillOpacity * s.opacity], back);
  const [high, low] = [light(front), light(back)].sort((p, q) => q - p), ratio = (high + 0.05) / (low + 0.05);
  const m = e.getScreenCTM(), need = parseFloat(s.fontSize) * Math.hypot(m.a, m.b) >= 24 ? 3 : 4.5;
  return ratio >= need - 0.005 ? [] : [`${name(e)} in a drawing has a contrast of ${ratio.toFixed(2)}, not ${need}.`];
});
every.remove();
return found;
"""

LAYOUT = r"""
const found = [], room = Math.min(WIDTH, document.documentElement.clientWidth);
const holds = e => e !== document.documentElement && e !== document.body && getComputedStyle(e).overflowX !== 'visible';
for (const e of document.body.querySelectorAll('*')) {
  if (!e.checkVisibility() || e.parentElement.closest('svg') || tiny(e)) continue;
  const s = getComputedStyle(e), right = e.getBoundingClientRect().right + scrollX;
  if (right > room + 0.5 && (PAPER || !above(e.parentElement).some(holds)))
    found.push(`${name(e)} ends at ${Math.round(right)} px, and there are ${room}.`);
  const more = [['X', e.scrollWidth, e.clientWidth], ['Y', e.scrollHeight, e.clientHeight]].filter(
    ([way, whole, shown]) => e.localName !== 'svg' && shown && whole > shown + 1 && s['overflow' + way] !== 'visible');
  if (PAPER && more.length) found.push(`${name(e)} is cut off on paper.`);
  if (!PAPER && more.some(([way]) => /auto|scroll/.test(s['overflow' + way])) && !['textarea', 'select'].includes(
    e.localName) && (e.tabIndex !== 0 || !(e.role === 'region' || e.localName === 'section') || !e.ariaLabel))
    found.push(`${name(e)} scrolls and is no region with a label that the keyboard reaches.`);
}
if (!PAPER) found.push(...texts().filter(e => !e.closest('svg') && parseFloat(getComputedStyle(e).fontSize) < 11)
  .map(e => `${name(e)} has text of ${getComputedStyle(e).fontSize}.`));
return found.slice(0, 12);
"""

STOPS = r"""
const list = [...document.querySelectorAll('a[href],button,input,select,textarea,summary,[tabindex],[role=button],' +
  '[role=link],[role=checkbox],[role=switch],[onclick]')].filter(e => !e.disabled && e.type !== 'hidden'
  && !e.closest('[inert]') && e.checkVisibility({visibilityProperty: true}));
const group = e => e.type === 'radio' ? list.filter(o => o.type === 'radio' && o.name === e.name) : [e];
const look = e => { const s = getComputedStyle(e); return parseFloat(s.outlineWidth) && s.outlineStyle !== 'none'
  && !/, 0\)$/.test(s.outlineColor) ? s.outline : s.boxShadow; };
const composite = '[role=tablist],[role=radiogroup],[role=toolbar],[role=menu],[role=listbox],[role=grid],table';
const lost = list.filter(e => e.tabIndex < 0 && !e.parentElement.closest(composite)).map(
  e => `${name(e)} can be used, but not be reached by the keyboard.`);
const stops = list.filter(e => e.tabIndex >= 0 && (group(e).find(o => o.checked) || group(e)[0]) === e);
globalThis.__focus = {stops, before: stops.map(look), look};
document.activeElement.blur();
return {lost, names: stops.map(name)};
"""

NOW = """() => { const {stops, before, look} = globalThis.__focus, e = document.activeElement, i = stops.indexOf(e);
  return [i, i < 0 || !e.matches(':focus-visible') || (look(e) !== before[i] && look(e) !== 'none')]; }"""


def _ask(page: Opened, script: str, width: int = 0, paper: bool = False) -> Any:
    constants = f"const WIDTH = {width or page.page.viewport_size['width']}, PAPER = {str(paper).lower()};"
    return page.page.evaluate(f"() => {{ {constants}\n{SHARED}\n{script}\n}}")


def axe_problems(page: Opened, rules: tuple[str, ...] = RULES) -> list[str]:
    """What axe finds not to be accessible, also in what is folded away: names, contrast, sizes to touch, order."""
    reason = "axe is not installed: pip install axe-playwright-python"
    package = pytest.importorskip("axe_playwright_python", reason=reason)
    page.page.evaluate(UNFOLD)
    page.page.evaluate((files(package) / "axe.min.js").read_text())
    return list(page.page.evaluate(AXE, list(rules)))


def drawing_problems(page: Opened) -> list[str]:
    """Every text in a drawing has the contrast of WCAG AA with what it lies on."""
    return list(_ask(page, DRAWN))


def layout_problems(page: Opened) -> list[str]:
    """Nothing is wider than the window but in a labelled region that scrolls; no text is smaller than 11 px."""
    return list(_ask(page, LAYOUT))


def focus_problems(page: Opened) -> list[str]:
    """Tab reaches every control in the order of the page, and shows where it is."""
    asked = _ask(page, STOPS)
    found, names, reached = list(asked["lost"]), asked["names"], list[int]()
    for _ in range(len(names) + 8):
        page.page.keyboard.press("Tab")
        place, shown = page.page.evaluate(NOW)
        if place in reached:
            break
        if place >= 0:
            reached.append(place)
            found += [] if shown else [f"{names[place]} does not show that it has the focus."]
    found += [f"Tab does not reach {names[k]}." for k in range(len(names)) if k not in reached]
    if reached != sorted(reached):
        found.append(f"Tab goes in another order than the page: {', '.join(names[k] for k in reached)}.")
    return found


def print_problems(page: Opened) -> list[str]:
    """Printing gives a plausible number of pages, and nothing is cut off on them."""
    margins = dict.fromkeys(("top", "bottom", "left", "right"), "0.4in")
    count = len(re.findall(rb"/Type\s*/Page\b", page.page.pdf(format="A4", margin=margins, print_background=True)))
    found = [] if 1 <= count <= MOST_PRINTED else [f"It prints on {count} pages, not on 1 to {MOST_PRINTED}."]
    size = page.page.viewport_size
    page.page.emulate_media(media="print")
    page.page.set_viewport_size({"width": PRINT_WIDTH, "height": 1000})
    found += _ask(page, LAYOUT, PRINT_WIDTH, paper=True)
    page.page.set_viewport_size(size)
    page.page.emulate_media(media="screen")
    return found


def browser_problems(browser: Any, path: Path) -> list[str]:
    """Return what is wrong with a page as a reader gets it, on a telephone and a screen, light, dark and on paper."""
    found = []
    for width in WIDTHS:
        with opened(browser, path, width) as page:
            said = layout_problems(page)
            if width < 800:
                said += axe_problems(page, ("target-size",))
            else:
                said += print_problems(page) + focus_problems(page) + axe_problems(page) + drawing_problems(page)
                page.page.emulate_media(color_scheme="dark")
                dark = axe_problems(page, ("color-contrast",)) + drawing_problems(page)
                said += [f"In the dark: {problem}" for problem in dark]
            found += [f"At {width} px: {problem}" for problem in (*said, *page.console, *page.outside)]
    return list(dict.fromkeys(found))
