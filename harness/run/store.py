"""The interface of a store from which archives are read instead of the run's folder."""

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
    """Uploads the archives of one subject after the other."""

    def add(self, prepared: Prepared, arms: Sequence[Arm]) -> None:
        """Upload the archives of a subject; record arms whose upload fails as failed."""

    def stored(self, arm: Arm) -> Remote | None:
        """Return the location of the archive of an arm; it is pickled to the reading processes."""

    def remove(self) -> None:
        """Remove everything that was uploaded."""


class ArchiveStore(ABC):
    """A store; registered in the group ``harness.stores`` by the scheme of its URL.

    A frozen dataclass whose fields are recorded in ``run.json``, so none may be a secret key.

    Attributes
    ----------
    address : str
        Form of its URLs, such as ``s3://BUCKET/PREFIX``.
    options : mapping of str to (str, str)
        Its options of ``harness run``, by name: metavar and help.
    environment : str
        Environment variables of its endpoint and keys.
    url : str
        URL of this store.
    """

    address: ClassVar[str]
    options: ClassVar[Mapping[str, tuple[str, str]]] = {}
    environment: ClassVar[str]
    url: str

    @classmethod
    @abstractmethod
    def parse(cls, url: str, options: Mapping[str, str]) -> ArchiveStore:
        """Parse the command line, without contacting the store.

        Parameters
        ----------
        url : str
            Value of ``--store``.
        options : mapping
            Values of `options`, as text.

        Raises
        ------
        UsageError
            If a value is invalid.
        """

    @abstractmethod
    def describe(self) -> str:
        """Describe briefly where archives are, and any proxy in between."""

    @abstractmethod
    def routes(self, backend: Format) -> tuple[str, ...]:
        """Name the ways to read archives of a format, starting with the usual one, `ranges`."""

    @abstractmethod
    def caches(self, backend: Format) -> str:
        """Describe briefly the caches for archives of a format, for the ledger."""

    @abstractmethod
    def named(self) -> str:
        """Name the server and the location, for the question whether an untrusted run may use it."""

    @abstractmethod
    def require(self) -> None:
        """Check that the store can be used.

        Raises
        ------
        UsageError
            If it cannot, or a package is missing; one sentence, within seconds.
        """

    @abstractmethod
    def uploads(self, run_id: str, worker: Worker, folder: Path) -> AbstractContextManager[Uploads]:
        """Check the store again and start its proxy; at the end, remove everything that was uploaded.

        Parameters
        ----------
        run_id : str
            Identifier of the run.
        worker : Worker
            Process that uploads and removes.
        folder : Path
            Folder of the run. Objects are listed there before they are uploaded, so that the next session can remove
            them after a kill.
        """


def store_of(url: str) -> type[ArchiveStore]:
    """Return the store for the scheme of a URL.

    Raises
    ------
    UsageError
        If no installed extension supports the scheme.
    """
    scheme, known = url.partition("://")[0], registry.names("stores")
    if scheme not in known:
        takes = " or ".join(registry.load("stores", name).address for name in known)
        raise UsageError(
            f"--store takes {takes}, got {url!r}." if takes else f"No extension that reads {url!r} is installed."
        )
    found: type[ArchiveStore] = registry.load("stores", scheme)
    return found
