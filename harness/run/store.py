"""Where archives can be read from besides the run's folder: the protocol of an object store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from harness import registry
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.formats.base import Format
    from harness.run.preparation import Prepared
    from harness.run.subject import Arm
    from harness.sampling.executor import Remote
    from harness.sampling.worker import Worker


class Uploads(Protocol):
    """Brings the archives of one subject after the other into a store."""

    def add(self, prepared: Prepared, arms: Sequence[Arm]) -> None:
        """Upload the archives of a subject; an arm whose archive does not get there has failed."""

    def stored(self, arm: Arm) -> Remote | None:
        """Return where the archive of an arm is; pickled to the processes that read."""

    def remove(self) -> None:
        """Take away all that was uploaded."""


class ArchiveStore(ABC):
    """A store as a run reaches it; registered in the group ``harness.stores`` by the scheme of its URL.

    It is a frozen dataclass, and its fields are what ``run.json`` holds of it: no key is among them.

    Attributes
    ----------
    address : str
        What ``--store`` takes, as ``s3://BUCKET/PREFIX``.
    options : mapping of str to (str, str)
        Its own options of ``harness run``, by name: what the value is called, and the help.
    environment : str
        The variables that its endpoint and keys are taken from.
    url : str
        Where archives go.
    """

    address: ClassVar[str]
    options: ClassVar[Mapping[str, tuple[str, str]]] = {}
    environment: ClassVar[str]
    url: str

    @classmethod
    @abstractmethod
    def parse(cls, url: str, options: Mapping[str, str]) -> ArchiveStore:
        """Read what the command line gives; nothing is asked of the store yet.

        Parameters
        ----------
        url : str
            Of ``--store``.
        options : mapping
            What was given of `options`, as text.

        Raises
        ------
        UsageError
            When something of it is wrong.
        """

    @abstractmethod
    def describe(self) -> str:
        """Say in a few words where archives are and what was put in between."""

    @abstractmethod
    def routes(self, backend: Format) -> tuple[str, ...]:
        """Name the ways in which archives of a format can be read here, the usual one first: it is called `ranges`."""

    @abstractmethod
    def caches(self, backend: Format) -> str:
        """Say in a few words what keeps what was read of a format's archives, for the ledger."""

    @abstractmethod
    def named(self) -> str:
        """Name the server and the place there, for a person who is asked whether a stranger's run may use it."""

    @abstractmethod
    def require(self) -> None:
        """Check that the store can be used.

        Raises
        ------
        UsageError
            When it cannot, or what is needed for it is not installed; one sentence, within seconds.
        """

    @abstractmethod
    def uploads(self, run_id: str, worker: Worker, folder: Path) -> AbstractContextManager[Uploads]:
        """Check the store again and start what stands in front of it; at the end, take away all that was uploaded.

        Parameters
        ----------
        run_id : str
            Of the run.
        worker : Worker
            Uploads and removes.
        folder : Path
            The run's: what is in the store is listed there before it is uploaded, so that a session that is killed
            leaves nothing which the next does not remove.
        """


def store_of(url: str) -> type[ArchiveStore]:
    """Return the store that knows a URL, by its scheme.

    Raises
    ------
    UsageError
        When no installed extension does.
    """
    scheme, known = url.partition("://")[0], registry.names("stores")
    if scheme not in known:
        takes = " or ".join(registry.load("stores", name).address for name in known)
        raise UsageError(
            f"--store takes {takes}, got {url!r}." if takes else f"No extension that reads {url!r} is installed."
        )
    found: type[ArchiveStore] = registry.load("stores", scheme)
    return found
