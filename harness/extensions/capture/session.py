"""A capture session: a model on one thread, and one writer thread for every destination."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.errors import HarnessError
from harness.extensions.capture.live import Feed, LiveTrace, Stopped
from harness.extensions.capture.plan import layer_bytes
from harness.formats.archive import remove, write_archive
from harness.formats.base import Format, Profile, blame
from harness.formats.recovered import RecoverableFormat
from harness.trace.manifest import Manifest, validate

Push = Callable[[str, np.ndarray], None]

BUFFERED_LAYERS = 1
"""Most layers that wait to be written, including the one being written."""


class PreparedModel(ABC):
    """A model that is ready to run on one query."""

    manifest: Manifest  # Every tensor that it gives, in order.

    @abstractmethod
    def run(self, push: Push) -> None:
        """Run the model once.

        Parameters
        ----------
        push : callable
            Takes the path and the values of every tensor of the manifest, in order, as soon as it is computed. The
            values must be a copy that the model does not change any more.
        """


class Destination(NamedTuple):
    """An archive to write."""

    backend: Format  # Its format.
    path: Path  # Its path; must not exist.


def record(
    model: PreparedModel,
    destinations: Sequence[Destination],
    *,
    label: str = "capture",
    layers: int = BUFFERED_LAYERS,
    profile: Profile | str = "tuned",
    written: Callable[[str], None] | None = None,
) -> list[Manifest]:
    """Run a model and write its tensors into archives while it computes.

    Parameters
    ----------
    model : PreparedModel
        Model, which runs on the calling thread.
    destinations : sequence of Destination
        Each gets every tensor; each archive appears under its name only when it is complete.
    label : str
        Name of the trace.
    layers : int
        Most layers that are held between the model and the slowest writer.
    profile : str or Profile
        Settings of the formats.
    written : callable, optional
        Called with the path of every tensor that the first destination has finished.

    Returns
    -------
    list of Manifest
        One manifest with digests for each destination.

    Raises
    ------
    HarnessError
        The first error on any side, including errors of the model's library. If an archive was not complete by then and
        its format supports it, complete layers are kept under the name that
        `harness.formats.recovery.incomplete_path` returns.
    KeyboardInterrupt
        On Ctrl-C; complete layers are kept in the same way.
    """
    validate(model.manifest)
    feed = Feed(model.manifest, len(destinations), layers * layer_bytes(model.manifest.tensors))
    with ThreadPoolExecutor(len(destinations), thread_name_prefix="writing") as pool:
        try:
            writing = []
            for number, place in enumerate(destinations):
                trace = LiveTrace(label, model.manifest, feed, number, None if number else written)
                writing.append(pool.submit(_write, place, trace, feed, profile))
            with blame(label, "running"):
                model.run(feed.push)
            feed.finish()
            wait(writing)
        except BaseException as error:
            feed.fail(error)
            if isinstance(error, Stopped) and feed.error is not None:
                raise feed.error from None
            raise
    if feed.error is not None:
        raise feed.error
    return [_checked(place, future.result(), feed) for place, future in zip(destinations, writing, strict=True)]


def _write(destination: Destination, trace: LiveTrace, feed: Feed, profile: Profile | str) -> Manifest | None:
    backend, path = destination
    try:
        return write_archive(trace, backend, path, profile, keep_incomplete=isinstance(backend, RecoverableFormat))
    except BaseException as error:  # noqa: BLE001 - whatever ends a writer has to end the model as well
        feed.fail(error)
        return None


def _checked(destination: Destination, manifest: Manifest | None, feed: Feed) -> Manifest:
    """Return the manifest of a writer; remove the archive and raise if its digests differ from the model's output."""
    if manifest is None or dict(manifest.digests) != feed.digests:
        remove(destination.path)
        raise HarnessError(f"{destination.path} differs from the output of the model, and was removed.")
    return manifest
