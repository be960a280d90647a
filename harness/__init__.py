"""Measure which file format suits protein-model inference traces.

The API for notebooks and pipelines is importable from here, and is loaded on first use: see docs/api.md.
"""

__version__ = "0.1.0"

# Types are in __init__.pyi: an import here, even for types only, would make every module depend on these modules.
_PLACES = {
    "FormatComparison": "harness.api.comparing",
    "HarnessError": "harness.errors",
    "OpenTrace": "harness.api.opening",
    "TraceArray": "harness.api.arrays",
    "TraceWriter": "harness.api.creating",
    "compare_formats": "harness.api.comparing",
    "create": "harness.api.creating",
    "open": "harness.api.opening",
}

__all__ = list(_PLACES)


def __getattr__(name: str) -> object:
    if name in _PLACES:
        import importlib  # late: `python -m harness` searches the current folder until __main__ runs

        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
