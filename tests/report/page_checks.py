"""What is wrong with a page: each check returns sentences, and an empty list where there is nothing to say.

`static_problems` reads the text alone. `browser_problems` opens the page in a `Browser` and measures what is shown.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from tests.report.browser import PRINT_WIDTH, Browser, Page

WIDTHS = (360, 1280)
MOST_PRINTED = 40

VOID = frozenset(("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"))
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
BLOCKS = frozenset(
    (*HEADINGS, "div", "dl", "fieldset", "figure", "footer", "form", "header", "hr", "main", "nav", "ol", "p", "pre")
) | {"section", "table", "ul"}
CELLS, TERMS = frozenset(("td", "th", "tr", "tbody", "tfoot")), frozenset(("dt", "dd"))
ENDED_BY = {  # an element that the start of these ends, where its own end is left out
    "td": CELLS,
    "th": CELLS,
    "tr": CELLS - {"td", "th"},
    "dt": TERMS,
    "dd": TERMS,
    "li": frozenset(("li",)),
    "option": frozenset(("option",)),
    "p": BLOCKS,
}
MAY_STAY_OPEN = frozenset(("html", "head", "body", "thead", "tbody", "tfoot", "colgroup", *ENDED_BY))
FIELDS = ("input", "select", "textarea")
POINTS_TO = ("for", "aria-labelledby", "aria-describedby", "aria-controls", "aria-owns", "aria-details", "headers")
LOADS = ("src", "srcset", "poster", "data", "action", "formaction", "background", "manifest", "ping", "imagesrcset")
ASKS = re.compile(
    r"\b(?:fetch|importScripts|sendBeacon|import)\s*\(|\bnew\s+(?:XMLHttpRequest|WebSocket|EventSource|\w*Worker)\b"
    r"|^\s*import\b[^(\n]*['\"]",
    re.MULTILINE,
)
STYLE_URL = re.compile(r"url\(\s*['\"]?\s*([^'\")\s]*)", re.IGNORECASE)


@dataclass
class Element:
    """An element of a page, with what it holds: elements and texts in order."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    parent: Element | None = None
    line: int = 0
    inside: list[Element | str] = field(default_factory=list)

    def __str__(self) -> str:
        names = "".join(f' {name}="{self.get(name)[:40]}"' for name in ("id", "class", "href") if self.get(name))
        return f"<{self.tag}{names}> of line {self.line}"

    def get(self, name: str) -> str:
        return self.attributes.get(name, "").strip()

    def children(self) -> list[Element]:
        return [each for each in self.inside if isinstance(each, Element)]

    def all(self, *tags: str) -> Iterator[Element]:
        """Give the elements below this one in document order, of these tags where any are named."""
        for child in self.children():
            if not tags or child.tag in tags:
                yield child
            yield from child.all(*tags)

    def above(self) -> Iterator[Element]:
        if self.parent:
            yield self.parent
            yield from self.parent.above()

    def hidden(self) -> bool:
        """Tell whether a screen reader is told to leave it out."""
        return any(e.get("aria-hidden") == "true" or "hidden" in e.attributes for e in (self, *self.above()))

    def text(self) -> str:
        """Return what it says aloud, images included."""
        if self.get("aria-hidden") == "true" or self.tag in ("script", "style", "template"):
            return ""
        if self.get("aria-label") or self.tag == "img":
            return self.get("aria-label") or self.get("alt")
        if self.tag == "svg":
            return "".join(child.text() for child in self.children() if child.tag == "title")
        return "".join(each if isinstance(each, str) else each.text() for each in self.inside).strip()


class _Reader(HTMLParser):
    """Makes a tree of a page's text, and notes what does not nest."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.root = self._open = Element("")
        self.doctype = ""
        self.problems: list[str] = []
        self.feed(text)
        self.close()
        self._leave(self._open, self.root)

    def handle_decl(self, decl: str) -> None:
        self.doctype = self.doctype or decl

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]], closed: bool = False) -> None:
        while tag in ENDED_BY.get(self._open.tag, ()):
            self._open = self._open.parent or self.root
        names = [name for name, _ in attrs]
        element = Element(tag, {}, self._open, self.getpos()[0])
        for name, value in attrs:
            element.attributes.setdefault(name, value or "")
        self.problems += [f"{element} has the attribute {name} twice." for name, n in Counter(names).items() if n > 1]
        self._open.inside.append(element)
        if tag not in VOID and not closed:
            self._open = element

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        drawn = tag in ("svg", "math") or any(e.tag in ("svg", "math") for e in (self._open, *self._open.above()))
        self.handle_starttag(tag, attrs, closed=drawn)

    def handle_endtag(self, tag: str) -> None:
        open_ = next((e for e in (self._open, *self._open.above()) if e.tag == tag), None)
        if open_ and open_.parent:
            self._leave(self._open, open_)
            self._open = open_.parent
        elif tag not in VOID:
            self.problems.append(f"</{tag}> of line {self.getpos()[0]} ends nothing.")

    def _leave(self, inner: Element, outer: Element) -> None:
        for element in (inner, *inner.above()):
            if element is outer:
                break
            if element.tag not in MAY_STAY_OPEN:
                self.problems.append(f"{element} is never ended.")

    def handle_data(self, data: str) -> None:
        self._open.inside.append(data)


def static_problems(text: str) -> list[str]:
    """Return what can be seen to be wrong in a page's text: names, order, references, and what it would load."""
    reader = _Reader(text)
    found = list(reader.problems)
    if reader.doctype.lower() != "doctype html":
        found.append("It does not begin with <!doctype html>.")
    for check in STATIC:
        found += check(reader.root)
    return found


def head_problems(root: Element) -> list[str]:
    """Language, title, encoding and viewport."""
    found = []
    if not any(e.get("lang") for e in root.all("html")):
        found.append("<html> has no lang.")
    if not any(e.text() for e in root.all("title") if e.parent and e.parent.tag != "svg"):
        found.append("It has no title.")
    if not any(e.get("charset").lower() == "utf-8" for e in root.all("meta")):
        found.append("It has no <meta charset=utf-8>.")
    views = [e.get("content").replace(" ", "").lower() for e in root.all("meta") if e.get("name").lower() == "viewport"]
    if not any("width=device-width" in view for view in views):
        found.append("It has no <meta name=viewport> with width=device-width.")
    if any(re.search(r"user-scalable=(no|0)|maximum-scale=[0-4](\D|$)", view) for view in views):
        found.append("Its viewport forbids to zoom.")
    return found


def id_problems(root: Element) -> list[str]:
    """Ids are unique, and what refers to one finds it."""
    ids = Counter(e.get("id") for e in root.all() if "id" in e.attributes)
    found = [f"The id {name!r} is used {n} times." if name else "An id is empty." for name, n in ids.items() if n > 1]
    for element in root.all():
        for name in POINTS_TO:
            missing = [target for target in element.get(name).split() if target not in ids]
            found += [f"{element}: {name} points to {target!r}, which is not there." for target in missing]
        for link in (element.get("href"), element.get("xlink:href")):
            if link.startswith("#") and link[1:] not in ids and link not in ("#", "#top"):
                found.append(f"{element}: nothing has the id {link[1:]!r}.")
    return found


def heading_problems(root: Element) -> list[str]:
    """One h1, no level skipped, no heading empty; one main."""
    headings = [e for e in root.all(*HEADINGS) if "hidden" not in e.attributes]
    levels = [int(e.tag[1]) for e in headings]
    found = [] if levels.count(1) == 1 else [f"It has {levels.count(1)} h1, not one."]
    for before, level, heading in zip([0, *levels], levels, headings, strict=False):
        if level > before + 1:
            found.append(f"{heading} skips a level: h{before} is before it." if before else f"{heading} is the first.")
    found += [f"{e} is an empty heading." for e in headings if not e.text()]
    mains = [e for e in root.all() if e.tag == "main" or e.get("role") == "main"]
    return found if len(mains) == 1 else [*found, f"It has {len(mains)} main landmarks, not one."]


def name_problems(root: Element) -> list[str]:
    """Whatever can be seen or used has a name: images, links, buttons, fields, tables, regions."""
    ids = {e.get("id"): e for e in root.all() if e.get("id")}
    labels = {e.get("for") for e in root.all("label") if e.get("for") and e.text()}
    found = []

    def named(element: Element, own: str = "") -> bool:
        labelled = any(target in ids and ids[target].text() for target in element.get("aria-labelledby").split())
        return bool(labelled or element.get("aria-label") or own or element.get("title"))

    for e in root.all():
        role = e.get("role")
        drawn = any(a.tag == "svg" for a in e.above())
        if e.hidden():
            continue
        if e.tag == "img" and "alt" not in e.attributes:
            found.append(f"{e} has no alt.")
        if e.tag == "svg" and not drawn and not any(a.get("role") == "img" for a in e.above()):
            if role != "img":
                found.append(f'{e} has neither role="img" nor aria-hidden.')
            if not named(e, e.text()):
                found.append(f"{e} has no name: give it an aria-label or a title.")
        if (e.tag == "a" and ("href" in e.attributes or "xlink:href" in e.attributes)) or role == "link":
            found += [] if named(e, e.text()) else [f"{e} is a link without text."]
        if e.tag in ("button", "summary") or role in ("button", "tab", "checkbox", "radio", "switch", "menuitem"):
            found += [] if named(e, e.text()) else [f"{e} is a button without a name."]
        if e.tag in ("input", "button") and e.get("type") in ("button", "submit", "reset", "image"):
            found += (
                [] if named(e, e.get("value") or e.get("alt") or e.text()) else [f"{e} is a button without a name."]
            )
        elif e.tag in FIELDS and e.get("type") != "hidden":
            wrapped = any(a.tag == "label" and a.text() for a in e.above())
            found += [] if wrapped or named(e) or e.get("id") in labels else [f"{e} has no label."]
        if e.tag == "table" and role not in ("presentation", "none"):
            caption = "".join(child.text() for child in e.children() if child.tag == "caption")
            found += [] if named(e, caption) else [f"{e} is a table without a caption or aria-label."]
        if e.tag == "th" and e.get("scope") not in ("row", "col", "rowgroup", "colgroup"):
            found.append(f"{e} is a th without a scope.")
        if role in ("region", "img", "dialog", "tablist") and e.tag != "svg" and not named(e):
            found.append(f"{e} has the role {role} and no label.")
        if e.tag == "iframe" and not named(e):
            found.append(f"{e} has no title.")
        if e.get("tabindex").isdecimal() and int(e.get("tabindex")) > 0:
            found.append(f"{e} has a positive tabindex.")
    return found


def loading_problems(root: Element) -> list[str]:
    """Nothing is loaded from elsewhere: the page is one file. Only a plain link may point away, and only to http(s)."""
    found = []
    for e in root.all():
        for name in (n for n in LOADS if n in e.attributes and (n != "data" or e.tag == "object")):
            urls = [p.split()[0] for p in e.get(name).split(", ") if p.split()] if "srcset" in name else [e.get(name)]
            found += [f"{e}: {name} loads {url[:80]}." for url in urls if not _inside(url)]
        for link in (e.attributes.get("href"), e.attributes.get("xlink:href")):
            away = e.tag == "a" and re.match(r"https?://", (link or "").strip(), re.IGNORECASE)
            if link is not None and not _inside(link) and not away:
                kind = "points to" if e.tag == "a" else "loads"
                found.append(f"{e} {kind} {link[:80]}, which is not in the page.")
        if e.tag == "meta" and e.get("http-equiv").lower() == "refresh":
            found.append(f"{e} sends the reader away.")
        styles = [e.get("style"), *(e.get(name) for name in ("fill", "stroke", "clip-path", "mask", "filter"))]
        if e.tag == "style":
            styles.append(_raw(e))
        found += [f"{e} {problem}" for style in styles if style for problem in _style_problems(style)]
        if e.tag == "script" and "json" not in e.get("type"):
            found += [f"{e} asks the network: {asked.group().strip()}" for asked in ASKS.finditer(_raw(e))]
    return found


def _raw(element: Element) -> str:
    return "".join(each for each in element.inside if isinstance(each, str))


def _inside(url: str) -> bool:
    return url.strip() == "" or url.strip().lower().startswith(("#", "data:", "blob:", "about:"))


def _style_problems(style: str) -> list[str]:
    style = re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)
    found = ["imports another style."] if "@import" in style.lower() else []
    for font in re.findall(r"@font-face\s*\{([^}]*)\}", style, re.IGNORECASE):
        found += ["loads a font."] if any(not _inside(url) for url in STYLE_URL.findall(font)) else []
    found += [f"loads {url[:80]}." for url in STYLE_URL.findall(style) if not _inside(url)]
    plain = re.sub(r"url\([^)]*\)|@namespace[^;]*;", "", style)
    return found + [f"names {url}." for url in re.findall(r"(?:https?:)?//[\w.-]+", plain)]


STATIC: tuple[Callable[[Element], list[str]], ...] = (
    head_problems,
    id_problems,
    heading_problems,
    name_problems,
    loading_problems,
)

# What the checks in the browser share. `stack` gives, for a point, what is painted there below an element.
SHARED = r"""
const name = e => {
  const more = ['id', 'class'].filter(n => e.getAttribute(n)).map(n => ` ${n}="${e.getAttribute(n).slice(0, 40)}"`);
  const text = (e.getAttribute('aria-label') || e.textContent || '').trim().replace(/\s+/g, ' ').slice(0, 40);
  return `<${e.localName}${more.join('')}> ${JSON.stringify(text)}`;
};
const above = e => { const list = []; for (; e; e = e.parentElement) list.push(e); return list; };
const tiny = e => above(e).some(a => {
  const s = getComputedStyle(a), r = a.getBoundingClientRect();
  return (s.overflow !== 'visible' && (r.width <= 1 || r.height <= 1) && s.position === 'absolute')
    || /inset\((50|100)%/.test(s.clipPath);
});
const offscreen = e => {
  const r = e.getBoundingClientRect();
  return r.right + scrollX <= 0 || r.bottom + scrollY <= 0;
};
const seen = e => {
  const r = e.getBoundingClientRect();
  return e.checkVisibility({visibilityProperty: true, opacityProperty: true}) && (r.width > 0 || r.height > 0)
    && !tiny(e) && !offscreen(e);
};
const texts = () => {
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), list = [];
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!/\S/.test(walk.currentNode.data) || e.closest('script,style,template,noscript,option')) continue;
    const range = document.createRange();
    range.selectNodeContents(walk.currentNode);
    if (range.getClientRects().length && seen(e)) list.push({e, text: walk.currentNode.data.trim(), range});
  }
  for (const e of document.querySelectorAll('input,select,textarea')) {
    if (e.disabled || ['checkbox', 'radio', 'range', 'color', 'hidden', 'file'].includes(e.type) || !seen(e)) continue;
    list.push({e, text: e.value || e.placeholder || '', range: e, holder: !e.value});
  }
  return list.filter(t => t.text);
};
const opened = check => {  // also what is folded away
  const folded = [...document.querySelectorAll('details:not([open])')];
  folded.forEach(e => { e.open = true; });
  try { return check(); } finally { folded.forEach(e => { e.open = false; }); }
};
"""

CONTRAST = r"""
const context = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true}), known = new Map();
const rgba = colour => {
  if (!known.has(colour)) {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    known.set(colour, [r, g, b, a / 255]);
  }
  return known.get(colour);
};
const over = ([r, g, b, a], below) => [r, g, b].map((c, i) => c * a + below[i] * (1 - a));
const thin = ([r, g, b, a], by) => [r, g, b, a * by];
const light = colour => colour.map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
const drawn = e => e instanceof SVGElement && e.localName !== 'svg';
// The colours that an element may paint under its text: one, or those of a gradient.
const paints = (e, x, y) => {
  const s = getComputedStyle(e);
  if (['img', 'image', 'canvas', 'video'].includes(e.localName)) return null;
  if (drawn(e)) {
    const filled = e instanceof SVGGeometryElement && s.fill !== 'none'
      && e.isPointInFill(new DOMPoint(x, y).matrixTransform(e.getScreenCTM().inverse()));
    return !filled ? [[]] : s.fill.startsWith('url') ? null : [[thin(rgba(s.fill), +s.fillOpacity)]];
  }
  const own = rgba(s.backgroundColor);
  if (s.backgroundImage === 'none') return [[own]];
  const stops = s.backgroundImage.match(/(?:rgba?|color|oklch|oklab|lab|lch|hsla?)\([^()]*\)/g);
  return /url\(/.test(s.backgroundImage) || !stops ? null : [[own], ...stops.map(stop => [own, rgba(stop)])];
};
const probe = document.documentElement.appendChild(document.createElement('div'));
probe.style.cssText = 'background-color: Canvas; position: absolute';
const canvas = rgba(getComputedStyle(probe).backgroundColor).slice(0, 3);
probe.remove();
const every = document.head.appendChild(document.createElement('style'));
every.textContent = '* { pointer-events: auto !important; transition: none !important; animation: none !important }';
const start = [scrollX, scrollY];
const measure = ({e, text, range, holder}) => {
  const style = getComputedStyle(e, holder ? '::placeholder' : undefined);
  const middle = () => { const r = range.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; };
  let [x, y] = middle();
  if (x < 0 || y < 0 || x >= innerWidth || y >= innerHeight) {
    e.scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'});
    [x, y] = middle();
  }
  const stack = document.elementsFromPoint(x, y), chain = above(e).reverse();
  const under = stack.slice(stack.indexOf(e) + 1).filter(o => stack.includes(e) && !o.contains(e)).reverse();
  const large = parseFloat(style.fontSize), matrix = drawn(e) ? e.getScreenCTM() : {a: 1, b: 0};
  const size = large * Math.hypot(matrix.a, matrix.b), big = size >= 24 || (size >= 18.66 && +style.fontWeight >= 700);
  const ink = drawn(e) ? style.fill : style.webkitTextFillColor;
  if (drawn(e) && ink === 'none') return [];
  let colour = ink.startsWith('url') ? null : rgba(ink), lost = !colour;
  if (!lost && drawn(e)) colour = thin(colour, +style.fillOpacity);
  // Each step paints an element and what lies on it below the text, then fades the whole by its opacity.
  const paint = (i, below) => {
    if (i === chain.length) return [{back: below, front: over(colour, below)}];
    const layers = paints(chain[i]), opacity = +getComputedStyle(chain[i]).opacity;
    if (!layers) { lost = true; return []; }
    const siblings = under.filter(o => chain[i].contains(o) && !(chain[i + 1] && chain[i + 1].contains(o)));
    return layers.flatMap(layer => {
      let local = layer.reduce((b, l) => over(l, b), below);
      for (const o of siblings) {
        const own = paints(o, x, y), fade = above(o).slice(0, above(o).indexOf(chain[i]))
          .reduce((product, a) => product * +getComputedStyle(a).opacity, 1);
        if (!own) { lost = true; return []; }
        for (const l of own[0]) local = over(thin(l, fade), local);
      }
      return paint(i + 1, local).map(({back, front}) => ({
        back: over([...back, opacity], below), front: over([...front, opacity], below)}));
    });
  };
  const pairs = lost ? [] : paint(0, canvas), need = big ? 3 : 4.5;
  if (lost) return [`${name(e)}: the contrast of ${JSON.stringify(text.slice(0, 40))} over an image cannot be told.`];
  const worst = pairs.sort((p, q) => ratio(p.front, p.back) - ratio(q.front, q.back))[0];
  const got = ratio(worst.front, worst.back);
  const hex = c => '#' + c.map(v => Math.round(v).toString(16).padStart(2, '0')).join('');
  return got >= need - 0.005 ? [] : [`${name(e)}: the contrast of ${JSON.stringify(text.slice(0, 40))} is ` +
    `${got.toFixed(2)}, less than ${need} (${hex(worst.front)} on ${hex(worst.back)}).`];
};
try { return [...new Set(opened(() => texts().filter(t => !t.e.closest(':disabled')).flatMap(measure)))]; }
finally { every.remove(); scrollTo({left: start[0], top: start[1], behavior: 'instant'}); }
"""

OVERFLOW = r"""
return [...new Set([check(), opened(check)].flat())];
function check() {
  const found = [], root = document.scrollingElement;
  const room = Math.min(WIDTH, document.documentElement.clientWidth);  // without a scroll bar
  const holds = e => e !== root && e !== document.body && getComputedStyle(e).overflowX !== 'visible';
  if (root.scrollWidth > room) found.push(`The page is ${root.scrollWidth} px wide in a window of ${room} px.`);
  for (const e of document.body.querySelectorAll('*')) {
    if (!e.checkVisibility() || (e.parentElement.closest('svg'))) continue;
    const style = getComputedStyle(e), right = e.getBoundingClientRect().right + scrollX;
    if (right > room + 0.5 && !above(e.parentElement).some(holds) && !tiny(e))
      found.push(`${name(e)} ends at ${Math.round(right)} px in a window of ${room} px.`);
    const scrolls = (e.scrollWidth > e.clientWidth + 1 && /auto|scroll/.test(style.overflowX))
      || (e.scrollHeight > e.clientHeight + 1 && /auto|scroll/.test(style.overflowY));
    if (!scrolls || ['textarea', 'select', 'input', 'svg'].includes(e.localName)) continue;
    if (e.getAttribute('tabindex') !== '0') found.push(`${name(e)} scrolls and cannot be reached by the keyboard.`);
    const region = e.getAttribute('role') === 'region' || e.localName === 'section';
    if (!region || !(e.ariaLabel || e.ariaLabelledByElements?.length))
      found.push(`${name(e)} scrolls and is no region with a label.`);
  }
  return found.slice(0, 12);
}
"""

SMALL_TEXT = r"""
return opened(() => texts().filter(t => !t.e.closest('svg') && parseFloat(getComputedStyle(t.e).fontSize) < 11)
  .map(t => `${name(t.e)} has text of ${getComputedStyle(t.e).fontSize}.`));
"""

TARGETS = r"""
const targets = 'a[href],button,input:not([type=hidden]),select,textarea,summary,[role=button],[role=tab],' +
  '[role=link],[role=checkbox],[role=radio],[role=switch],[role=menuitem],[role=option]';
const usable = e => !e.disabled && !e.closest('[inert]');
return opened(() => [...document.querySelectorAll(targets)].filter(usable).flatMap(e => {
  const holder = e.labels?.length && ['checkbox', 'radio'].includes(e.type) ? [e, ...e.labels] : [e];
  const boxes = holder.filter(seen).map(h => h.getBoundingClientRect());
  if (!boxes.length) return [];
  const inSentence = e.localName === 'a' && getComputedStyle(e).display === 'inline'
    && [...e.parentElement.childNodes].some(n => n !== e && n.nodeType === 3 && /[\p{L}\p{N}]/u.test(n.data));
  const width = Math.max(...boxes.map(b => b.right)) - Math.min(...boxes.map(b => b.left));
  const height = Math.max(...boxes.map(b => b.bottom)) - Math.min(...boxes.map(b => b.top));
  return inSentence || (width >= 23.99 && height >= 23.99) ? []
    : [`${name(e)} is ${width.toFixed(1)} x ${height.toFixed(1)} px, less than 24 x 24 to touch.`];
}));
"""

FOCUS_START = r"""
const list = [...document.querySelectorAll('a[href],button,input,select,textarea,summary,[tabindex],' +
  '[contenteditable],audio[controls],video[controls],[role=button],[role=link],[role=checkbox],[role=switch],[onclick]')];
const usable = list.filter(e => !e.disabled && e.type !== 'hidden' && !e.closest('[inert]') && e.checkVisibility(
  {visibilityProperty: true}) && (e.localName !== 'summary' || e === e.closest('details')?.querySelector('summary')));
const composite = '[role=tablist],[role=radiogroup],[role=toolbar],[role=menu],[role=listbox],[role=grid]';
const found = usable.filter(e => e.tabIndex < 0 && !e.parentElement.closest(composite) && !e.closest('[role=option]')
  && (e.matches('a,button,input,select,textarea,summary,[onclick]') || e.matches('[role]:not([tabindex])')))
  .map(e => `${name(e)} can be used, but not be reached by the keyboard.`);
found.push(...usable.filter(e => e.tabIndex >= 0 && e.closest('[aria-hidden=true]'))
  .map(e => `${name(e)} takes the focus, but is hidden from screen readers.`));
const group = e => e.type === 'radio' && e.name
  ? usable.filter(o => o.type === 'radio' && o.name === e.name && o.form === e.form) : [e];
const look = e => {
  document.getAnimations().forEach(a => { try { a.finish(); } catch { } });
  const s = getComputedStyle(e);
  const outline = s.outlineStyle === 'none' || !parseFloat(s.outlineWidth) || rgba0(s.outlineColor) ? 'none'
    : [s.outlineStyle, s.outlineWidth, s.outlineColor, s.outlineOffset].join(' ');
  return outline + ' / ' + s.boxShadow;
};
const rgba0 = colour => /^rgba\(.*, 0\)$/.test(colour);
document.activeElement?.blur();
const stops = usable.filter(e => e.tabIndex >= 0 && (group(e).find(o => o.checked) || group(e)[0]) === e);
globalThis.__focus = {stops, before: stops.map(look), look, name};
document.body.tabIndex = 1;  // the start of the page; with 1, since Tab goes to positive numbers first
document.body.focus({preventScroll: true});
return {found, names: stops.map(name)};
"""

FOCUS_NOW = r"""
const {stops, before, look, name} = globalThis.__focus, e = document.activeElement, i = stops.indexOf(e);
return {i, name: e === document.body || !e ? '' : name(e), shown: i < 0 || !e.matches(':focus-visible') ||
  (look(e) !== before[i] && look(e) !== 'none / none')};
"""

CLIPPED = r"""
const found = [];
for (const e of document.body.querySelectorAll('*')) {
  if (!e.checkVisibility() || e.parentElement.closest('svg') || tiny(e)) continue;
  const style = getComputedStyle(e), right = e.getBoundingClientRect().right + scrollX;
  if (right > WIDTH + 0.5) found.push(`${name(e)} ends at ${Math.round(right)} px on paper of ${WIDTH} px.`);
  for (const [way, whole, shown] of [['X', e.scrollWidth, e.clientWidth], ['Y', e.scrollHeight, e.clientHeight]])
    if (e.localName !== 'svg' && shown && whole > shown + 1 && style['overflow' + way] !== 'visible')
      found.push(`${name(e)} shows ${shown} px of ${whole} on paper.`);
}
return [...new Set(found)].slice(0, 12);
"""


def _ask(page: Page, script: str) -> Any:
    return page.evaluate(f"(() => {{ const WIDTH = {json.dumps(page.width)};\n{SHARED}\n{script}\n}})()")


def console_problems(page: Page) -> list[str]:
    """Nothing was written to the console but notes: no warning, error, exception or dialog."""
    quiet = ("log", "info", "debug", "verbose")
    return [f"The console has the {level}: {text}" for level, text in page.console if level not in quiet]


def request_problems(page: Page) -> list[str]:
    """The page asked for nothing beside its own file."""
    return [f"It asked for {url[:120]}." for url in page.outside()]


def contrast_problems(page: Page) -> list[str]:
    """Every text has the contrast of WCAG AA with what is behind it, also in what is folded away."""
    return _ask(page, CONTRAST)


def overflow_problems(page: Page) -> list[str]:
    """Nothing is wider than the window but in a region that scrolls, has a label and takes the focus."""
    return _ask(page, OVERFLOW)


def text_size_problems(page: Page) -> list[str]:
    """No text outside a drawing is smaller than 11 px."""
    return _ask(page, SMALL_TEXT)


def target_problems(page: Page) -> list[str]:
    """Whatever is touched is at least 24 px wide and high, but for links in a sentence."""
    return _ask(page, TARGETS)


def focus_problems(page: Page) -> list[str]:
    """Tab reaches every control in the order of the page, shows where it is, and is let go at the end."""
    asked = _ask(page, FOCUS_START)
    found, names, reached = list(asked["found"]), asked["names"], list[int]()
    for _ in range(2 * len(names) + 8):
        page.press("Tab")
        now = page.evaluate(f"(() => {{ {FOCUS_NOW} }})()")
        if not now["name"] or now["i"] in reached:  # the end, or round again
            break
        if now["i"] >= 0:
            reached.append(now["i"])
            found += [] if now["shown"] else [f"{now['name']} does not show that it has the focus."]
    page.evaluate("(() => { document.body.removeAttribute('tabindex'); delete globalThis.__focus; })()")
    found += [f"Tab does not reach {names[i]}." for i in range(len(names)) if i not in reached]
    if reached != sorted(reached):
        found.append(f"Tab goes in another order than the page: {', '.join(names[i] for i in reached)}.")
    return found


def tree_problems(page: Page) -> list[str]:
    """What a screen reader is given has names, as Chromium itself works them out."""
    roles = (
        "button",
        "link",
        "image",
        "checkbox",
        "radio",
        "combobox",
        "textbox",
        "searchbox",
        "slider",
        "tab",
        "table",
    )
    found = []
    for node in page.tree():
        role = node.get("role", {}).get("value", "")
        if not node["ignored"] and role in roles and not node.get("name", {}).get("value", "").strip():
            found.append(f"A screen reader is given a {role} without a name.")
    return found


def print_problems(page: Page, most: int = MOST_PRINTED) -> list[str]:
    """Printing gives a plausible number of pages, and nothing is cut off on them."""
    pdf = page.pdf()
    pages = len(re.findall(rb"/Type\s*/Page\b", pdf))
    found = [] if pdf.startswith(b"%PDF-") else ["Printing gave no PDF."]
    if not 1 <= pages <= most:
        found.append(f"It prints on {pages} pages, not on 1 to {most}.")
    width = page.width
    page.media(media="print")
    page.viewport(PRINT_WIDTH, bars=False)
    found += _ask(page, CLIPPED)
    page.viewport(width)
    page.media()
    return found


def browser_problems(browser: Browser, path: Path, most_printed: int = MOST_PRINTED) -> list[str]:
    """Return what is wrong with a page as a reader gets it, on a telephone and a screen, light, dark and on paper."""
    found = []
    for width in WIDTHS:
        with browser.open(path, width=width, mobile=width < 800) as page:
            checks = [overflow_problems, text_size_problems, contrast_problems, target_problems]
            if width >= 800:
                checks += [focus_problems, tree_problems]
            said = [problem for check in checks for problem in check(page)]
            page.media("dark")
            said += [f"In the dark: {problem}" for problem in contrast_problems(page)]
            page.media("light")
            if width >= 800:
                said += [f"Printed: {problem}" for problem in print_problems(page, most_printed)]
            found += [f"At {width} px: {problem}" for problem in said]
            found += console_problems(page) + request_problems(page)
    return list(dict.fromkeys(found))
