"""Plot styles of formats: stated by the format, or from a cycle that is distinct with every colour deficiency."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from harness import registry
from harness.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Style:
    """Plot style of one format, and its place among others."""

    colour: str  # Of its lines and markers, as ``#rrggbb``.
    marker: str  # A marker of matplotlib.
    dash: Any = "solid"  # A line style of matplotlib.
    hatch: str = ""  # Of areas.
    order: int = 100  # Place in tables and legends; formats of one order are sorted by name.


# Colours of Okabe & Ito (2008) and Paul Tol's muted scheme that no format of this project has.
_CYCLE = tuple(
    Style(colour=colour, marker=marker, dash=dash, hatch=hatch)
    for colour, marker, dash, hatch in (
        ("#DDCC77", "8", (0, (2, 1)), "xx"),
        ("#000000", "X", (0, (8, 2)), "ooo"),
        ("#882255", "p", (0, (1, 2)), "---"),
        ("#999933", "<", (0, (4, 1, 1, 1, 1, 1)), "|||"),
        ("#332288", ">", (0, (2, 1)), "**"),
        ("#661100", "h", (0, (8, 2)), "++++"),
        ("#44AA99", "d", (0, (1, 2)), "oo"),
        ("#AA4499", "*", (0, (4, 1, 1, 1, 1, 1)), "--"),
    )
)


def styles(names: Iterable[str]) -> dict[str, Style]:
    """Return the style of each format, in the order of tables and legends.

    Parameters
    ----------
    names : iterable of str
        The ``format`` column of records.

    Returns
    -------
    dict of str to Style
        The style that the format states. A format that states none, or is not found here, gets the style of the cycle
        that its name determines, or the next free one.
    """
    wanted = set(names)
    found = {name: style for name in wanted if (style := _stated(name)) is not None}
    taken: set[int] = set()
    for name in sorted(wanted - set(found)):
        first = zlib.crc32(name.encode())
        places = [(first + step) % len(_CYCLE) for step in range(len(_CYCLE))]
        place = next((place for place in places if place not in taken), places[0])
        taken.add(place)
        found[name] = _CYCLE[place]
    return {name: found[name] for name in sorted(found, key=lambda name: (found[name].order, name))}


def _stated(name: str) -> Style | None:
    """Return the style that a format's own class states: a derived class is another format, and must look different."""
    registered = [name] if name in registry.names("formats") else []
    for key in [*registered, *(typed for group, typed in registry.allowed() if group == "formats")]:
        try:
            plugin = registry.load("formats", key)
        except UsageError:
            continue  # its rows can be shown without its library
        if getattr(plugin, "name", "") == name:
            style: Style | None = vars(plugin).get("style")
            return style
    return None
