"""Put an SVG drawing into a page: with a name for those who cannot see it, and identifiers that clash with none."""

from __future__ import annotations

import re
from html import escape

_IDENTIFIER = re.compile(r'\bid="([^"]+)"')
_SIZE = re.compile(r'\s(?:width|height|xmlns:xlink|xmlns|version)="[^"]*"')


def inline_svg(text: str, prefix: str, label: str) -> str:
    """Turn a drawing of matplotlib into an element of a page.

    Parameters
    ----------
    text : str
        The SVG file.
    prefix : str
        Put before every identifier in it.
    label : str
        What the drawing shows, read out in its place.

    Returns
    -------
    str
        An ``svg`` element that scales with its place.
    """
    start = text.index("<svg")
    close = text.index(">", start)
    head, body = text[start:close], text[close + 1 : text.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    # This rule would reach beyond the drawing; as attributes it stays within.
    body = re.sub(r"<style\b[^>]*>.*?</style>", "", body, flags=re.S)
    used = set(re.findall(r'#([^")]+)[")]', body))
    body = _IDENTIFIER.sub(lambda m: f'id="{prefix}-{m[1]}"' if m[1] in used else "", body)
    body = re.sub(r'(xlink:)?href="#([^"]+)"', lambda m: f'href="#{prefix}-{m[2]}"', body)
    body = re.sub(r"url\(#([^)]+)\)", lambda m: f"url(#{prefix}-{m[1]})", body)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.S)
    head = _SIZE.sub("", head)
    name = escape(label, quote=True)
    return (
        f'{head} role="img" aria-label="{name}" style="stroke-linejoin:round;stroke-linecap:butt">{body.strip()}</svg>'
    )
