"""Open the trace that ``--trace`` names: a registered source with parameters."""

from __future__ import annotations

from harness import registry
from harness.errors import UsageError
from harness.trace.stream import Trace, TraceSource


def find_source(text: str) -> tuple[TraceSource, str]:
    """Split ``NAME[:key=value,...]`` into the registered source and its parameters.

    Parameters
    ----------
    text : str
        As given on the command line.

    Returns
    -------
    source : TraceSource
        The source.
    parameters : str
        Text after the first colon.

    Raises
    ------
    UsageError
        For a name that is not registered.
    """
    name, _, parameters = text.partition(":")
    if not name:
        raise UsageError("A trace needs a name: --trace NAME[:key=value,...].")
    source: TraceSource = registry.load("traces", name)
    return source, parameters


def open_trace(text: str, n_res: int | None = None) -> Trace:
    """Open a trace.

    Parameters
    ----------
    text : str
        ``NAME[:key=value,...]``.
    n_res : int, optional
        Sequence length, for a source that makes traces of any length.

    Returns
    -------
    Trace
        Opened trace; its manifest is complete, its tensors are not made yet.

    Raises
    ------
    UsageError
        For an unknown source or parameter, or if the source lacks its data.
    """
    source, parameters = find_source(text)
    return source.open(parameters, n_res if source.sized else None)
