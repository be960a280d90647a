"""Conformance tests of every reader of a format, in every setting that is a candidate for its best."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from harness.formats.archive import write_archive
from harness.formats.base import Format, Layout, Profile, Reader, UnsupportedReader
from harness.formats.describing import Opened, ShowsStorage
from harness.formats.settings import Settings, TunableFormat, configured
from harness.testing.comparing import parts
from harness.testing.samples import sample_arrays, steps

_CHECKSUMS = ("crc32", "fletcher32")
_BUDGETS = (None, 0)


def raced(backend: Format, profile: Profile) -> dict[str, Profile]:
    """Return the settings with which readers of a format are checked, by name.

    These are the profile and, if it is ``tuned``, the alternatives that are candidates.
    """
    found: dict[str, Profile] = {"": profile}
    if profile == "tuned" and isinstance(backend, TunableFormat):
        found |= {name: backend.alternative(name) for name, _ in backend.candidates if name}
    return found


def disagreement(opened: Opened, layout: Layout) -> str:
    """Return how an opened tensor differs from the layout that was requested; empty if it does not.

    Compressors are compared by name, because a library does not always report a level.
    """
    chunks = opened.chunks
    if chunks and layout.chunks and len(chunks) == len(layout.chunks) + 1:  # one of a stack of layers
        chunks = chunks[1:]
    if chunks != layout.chunks:
        return f"has chunks {opened.chunks}, asked were {layout.chunks}"
    if layout.checked != any(name in opened.codec for name in _CHECKSUMS):
        return f"has the codecs {opened.codec!r}; a checksum was {'' if layout.checked else 'not '}asked for"
    asked = layout.codec.name if layout.codec else "none"
    if asked not in opened.codec and not (asked == "none" and opened.codec.startswith(_CHECKSUMS)):
        return f"has the codecs {opened.codec!r}, asked was {asked}"
    return ""


class ReaderConformance:
    """Tests of readers, the base class of `harness.testing.conformance.FormatConformance`."""

    profile: ClassVar[Profile]

    def made(self) -> Format:
        """Return the format."""
        raise NotImplementedError

    def test_every_reader_in_every_setting_returns_every_bit(self, tmp_path: Path) -> None:
        """Tensors and parts are read with every cache budget, on one thread and on several that share the reader."""
        arrays = sample_arrays(self.made().lacks)
        for setting, profile in raced(self.made(), self.profile).items():
            path = tmp_path / f"{setting or 'archive'}{self.made().suffix}"
            write_archive(steps(arrays), self.made(), path, profile)
            for name, budget in self._readers():
                with suppress(UnsupportedReader):  # a reader may lack a codec: runs leave it out with its reason
                    self._check_reader(path, profile, name, budget)

    def _readers(self) -> Iterator[tuple[str, int | None]]:
        """Yield each reader that is available, with each budget of decoded chunks."""
        for name, spec in self.made().readers.items():
            for budget in () if spec.missing() else _BUDGETS if spec.cached else _BUDGETS[:1]:
                yield name, budget

    def _check_reader(self, path: Path, profile: Profile, name: str, budget: int | None) -> None:
        arrays, backend = sample_arrays(self.made().lacks), configured(self.made(), profile)
        with backend.reader(path, name, cache_bytes=budget) as reader:
            read = partial(_read_all, reader, arrays, f"{name} in {path.stem}")
            read(0)
            with ThreadPoolExecutor(2) as pool:
                for done in [pool.submit(read, seed) for seed in (1, 2)]:
                    done.result()
            self._check_ledger(reader, profile, arrays, f"{name} in {path.stem}")

    def _check_ledger(self, reader: Reader, profile: Profile, arrays: dict[str, np.ndarray], what: str) -> None:
        if not isinstance(reader, ShowsStorage):
            return
        for spec in steps(arrays).manifest.tensors:
            layout = self.made().layout(spec, profile)
            # Slimming may store an integer in one byte, for which a format may have another codec.
            alike = not self.made().slim or np.dtype(spec.dtype).kind == "f"
            if layout.stated and alike and spec.items and spec.shape:
                opened = reader.opened(spec.path)
                assert opened.reader, f"{what} does not say what reads"
                problems = [disagreement(opened, each) for each in (layout, *layout.tried)]
                assert not all(problems), f"{what}: {spec.path} {problems[0]}"

    def test_candidates_name_readers_and_settings_that_exist(self, tmp_path: Path) -> None:
        """Each candidate is a setting and a reader of the format, and no two are equal; the stock reader exists."""
        backend = self.made()
        settings = set(backend.alternatives) if isinstance(backend, TunableFormat) else set()
        assert backend.stock in backend.readers
        assert len(set(backend.candidates)) == len(backend.candidates) > 0
        for setting, name in backend.candidates:
            assert name in backend.readers, f"a candidate names the reader {name!r}, which does not exist"
            assert not setting or setting in settings, (
                f"a candidate names the setting {setting!r}, which does not exist"
            )
        assert all(isinstance(profile, Settings) for name, profile in raced(backend, "tuned").items() if name)


def _read_all(reader: Reader, arrays: dict[str, np.ndarray], what: str, seed: int) -> None:
    """Compare tensors and parts of them bit by bit, in a random order from `seed`."""
    rng = np.random.default_rng(seed)
    for path in rng.permutation(list(arrays)):
        for part in (None, *parts(arrays[path].shape, rng)[:: 1 if seed == 0 else 3]):
            array = arrays[path][... if part is None else part]
            found, asked = reader.read(path, part), f"{what}: {path} {part or ''}"
            assert (found.dtype, found.shape) == (array.dtype, array.shape), f"{asked} has another dtype or shape"
            assert found.tobytes() == array.tobytes(), f"{asked} has other values"
