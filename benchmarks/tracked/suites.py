"""One class for each registered suite, with every access of its plan and every registered format as parameters."""

from __future__ import annotations

from . import bases, definition

for _suite in definition.config().suites:
    for _kind in bases.KINDS:
        _made = bases.benchmark(_suite, _kind)
        if _made is not None:
            # A suite with more than one kind of access has a class for each.
            _made.__name__ = _suite if _suite not in globals() else f"{_suite}_{_kind.__name__}"
            _made.__module__ = __name__
            globals()[_made.__name__] = _made
