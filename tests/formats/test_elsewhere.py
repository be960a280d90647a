"""What other programs find in archives: docs/elsewhere.md against libraries alone, and tensors stored as they are."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr

from harness.cli import main
from harness.formats.archive import open_archive, verify_archive
from harness.formats.base import load_format
from harness.testing.samples import bfloat16_exact
from tests.formats.samples import BACKENDS, INSTALLED, assert_same, put

DOCS = (Path(__file__).parents[2] / "docs" / "elsewhere.md").read_text()
_ROW = r"^\| (`[\w-]+`)" + r" \| ([^|]*)" * 4 + r" \|$"
TABLE = {cells[0].strip("`"): cells[1:] for cells in re.findall(_ROW, DOCS, re.M)}

Fact = list[Any]
"""Dtype, shape and SHA-256 of an array; of one that could not be read, the name of the error."""


def _arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    pair = bfloat16_exact(rng.normal(size=(6, 6, 4)))
    return {
        "inputs/sequence": np.frombuffer(b"ACDEFG", np.uint8),
        "pair/layer_0": pair,
        "pair/layer_1": rng.normal(size=(6, 6, 4)).astype(np.float32),
        "activations/layer_0/pair_repr": pair.copy(),
        "attention/layer_0": rng.random((2, 6, 6)).astype(np.float32),
        "outputs/coordinates": rng.normal(size=(6, 3)).astype(np.float32),
        "outputs/labels": np.arange(1, 7),
        "structure/ptm": np.array(0.7, np.float32),
    }


ARRAYS = _arrays()
SLIMMED = {"pair/layer_0", "activations/layer_0/pair_repr", "outputs/labels"}  # narrow, or equal to one before it
AS_THEY_ARE = {
    "every tensor": set(ARRAYS),
    "what is stored once and not narrowed": set(ARRAYS) - SLIMMED,
}
ALONE: dict[str, Callable[[Fact], bool]] = {
    "every tensor": lambda fact: True,
    "scalars": lambda fact: fact[1] == [],
    "scalars and values of one byte": lambda fact: fact[1] == [] or np.dtype(fact[0]).itemsize == 1,
}

# Runs without this project: what it is told to lack cannot be imported.
READ = """
import hashlib, json, sys, warnings
from pathlib import Path

warnings.simplefilter("ignore")
asked = json.load(sys.stdin)
sys.modules.update(dict.fromkeys(asked["absent"]))
for name in asked["imported"]:
    __import__(name)
import numpy


def arrays(library, path):
    if library == "numpy":
        file = numpy.load(path)
        return {name: lambda name=name: file[name] for name in file.files}
    if library == "h5py":
        import h5py
        file, found = h5py.File(path), {}
        file.visititems(lambda name, node: found.update({name: lambda: node[()]}) if hasattr(node, "dtype") else None)
        return found
    if library == "safetensors":
        from safetensors.numpy import load_file
        return {name: lambda value=value: value for name, value in load_file(path).items()}
    if library == "blosc2":
        import blosc2
        names = {file.relative_to(path).with_suffix("").as_posix(): file for file in Path(path).rglob("*.b2nd")}
        return {name: lambda file=file: blosc2.open(str(file))[...] for name, file in names.items()}
    if library == "torch":
        import torch
        found = torch.load(path, weights_only=True)
        return {name: value.numpy for name, value in found.items() if isinstance(value, torch.Tensor)}
    import zarr
    store = path
    if library == "icechunk":
        import icechunk
        storage = icechunk.local_filesystem_storage(path + "/store")
        store = icechunk.Repository.open(storage).readonly_session("main").store
    if path.endswith(".zip"):
        store = zarr.storage.ZipStore(path, mode="r")
    members = zarr.open_group(store, mode="r").members(max_depth=None)
    return {name: lambda node=node: node[...] for name, node in members if isinstance(node, zarr.Array)}


def fact(read):
    try:
        value = numpy.asarray(read())
    except Exception as error:
        return [type(error).__name__]
    return [value.dtype.name, list(value.shape), hashlib.sha256(value.tobytes()).hexdigest()]


found = {}
for name, (library, path) in asked["archives"].items():
    found[name] = {array: fact(read) for array, read in arrays(library, path).items()}
for name, path in asked["views"].items():
    view = {}
    exec(asked["snippet"].replace("trace.slim.zarr", path), view)
    found["view of " + name] = {tensor: fact(lambda: view["tensor"](tensor)) for tensor in asked["tensors"]}
print(json.dumps(found))
"""


def fact_of(array: np.ndarray) -> Fact:
    return [array.dtype.name, list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]


def _by_libraries(folder: Path, absent: list[str], imported: list[str], views: list[str]) -> dict[str, dict[str, Fact]]:
    archives = {}
    for name in INSTALLED:
        backend = load_format(name)
        if backend.elsewhere:
            archives[name] = (backend.elsewhere.library, str(folder / f"archive{backend.suffix}"))
    (snippet,) = re.findall(r"```python\n(.*?)```", DOCS, re.S)
    asked = {"absent": absent, "imported": imported, "archives": archives, "snippet": snippet, "tensors": list(ARRAYS)}
    asked["views"] = {name: archives[name][1] for name in views}
    environment = {name: value for name, value in os.environ.items() if name != "HDF5_PLUGIN_PATH"}
    command = [sys.executable, "-c", READ]
    done = subprocess.run(
        command, input=json.dumps(asked), capture_output=True, text=True, cwd=folder, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Fact]] = json.loads(done.stdout)
    return found


Found = tuple[dict[str, dict[str, Fact]], dict[str, dict[str, Fact]]]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What libraries alone read of an archive of each format, and what they read with what the formats name."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name in INSTALLED:
        put(folder, name, ARRAYS)
    alone = _by_libraries(folder, ["harness", "hdf5plugin", "pcodec"], [], [])
    return alone, _by_libraries(folder, ["harness"], ["hdf5plugin", "pcodec"], ["zarr-slim"])


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKENDS)
def test_a_library_alone_reads_what_the_table_says(name: str, read: Found) -> None:
    library, alone, besides, as_they_are = TABLE[name]
    elsewhere = load_format(name).elsewhere
    if elsewhere is None:
        assert (library, alone, besides, as_they_are) == ("none", "-", "-", "-")
        return
    needed = [need.replace("'", "`") for need in elsewhere.besides.values()]
    assert (library, besides) == (f"`{elsewhere.library}`", " and ".join(needed) or "-")
    by_itself, with_all = (
        {array: fact for array, fact in found[name].items() if not array.startswith("metadata/")} for found in read
    )
    assert by_itself.keys() == with_all.keys()
    assert all(len(fact) == 3 for fact in with_all.values()), with_all
    decoded = {array for array, fact in by_itself.items() if len(fact) == 3}
    assert decoded == {array for array, fact in with_all.items() if ALONE[alone](fact)}
    assert all(by_itself[array] == with_all[array] for array in decoded)
    same = {path for path, array in ARRAYS.items() if with_all.get(path) == fact_of(array)}
    assert same == AS_THEY_ARE[as_they_are]


@pytest.mark.slow
def test_ten_lines_of_the_page_find_every_tensor(read: Found) -> None:
    assert read[1]["view of zarr-slim"] == {path: fact_of(array) for path, array in ARRAYS.items()}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("npz", "numpy opens it "),
        ("hdf5", "h5py opens it; tensors that need 'import hdf5plugin': 7 of 8 "),
        (
            "zarr-slim",
            "zarr opens it; tensors that need 'pip install pcodec': 5 of 8; under another name or in another ",
        ),
        ("raw", None),
    ],
)
def test_inspect_says_it_of_an_archive(
    name: str, said: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(put(tmp_path, name, ARRAYS))]) == 0
    lines = [line.split(None, 1) for line in capsys.readouterr().out.splitlines()]
    rows = [line[1] for line in lines if line[:1] == ["elsewhere"]]
    assert [row.startswith(str(said)) for row in rows] == ([True] if said else []), rows


def by_numpy(path: Path) -> Mapping[str, Any]:
    return np.load(path)


def by_zarr(path: Path) -> Mapping[str, Any]:
    for file in path.glob("pair/*/zarr.json"):
        assert "pcodec" not in file.read_text()
    return zarr.open_group(path, mode="r")


@pytest.mark.parametrize(
    ("name", "library"), [("npz-slim", by_numpy), ("hdf5-slim", h5py.File), ("zarr-slim", by_zarr)]
)
def test_tensors_are_stored_as_they_are_where_that_is_asked_for(
    name: str, library: Callable[[Path], Mapping[str, Any]], tmp_path: Path
) -> None:
    archive, backend = put(tmp_path, "raw", ARRAYS), load_format(name)
    path, slim = (tmp_path / f"{kind}{backend.suffix}" for kind in ("plain", "slim"))
    assert main(["convert", str(archive), str(path), "--plain", "pair/*,activations/*, outputs/l*"]) == 0
    assert main(["convert", str(archive), str(slim)]) == 0
    assert verify_archive(path) == []
    plain = [tensor for tensor in ARRAYS if tensor.startswith(("pair/", "activations/", "outputs/l"))]
    for tensor in plain:
        assert_same(np.asarray(library(path)[tensor][...]), ARRAYS[tensor])
    with open_archive(path) as (found, reader, manifest), open_archive(slim) as (_, before, expected):
        assert found.name == name and manifest == expected
        assert [tensor for tensor in plain if not reader.as_it_is(tensor)] == []
        assert [tensor for tensor in plain if before.as_it_is(tensor)] != plain
        others = [tensor for tensor in ARRAYS if tensor not in plain]
        assert [reader.as_it_is(tensor) for tensor in others] == [before.as_it_is(tensor) for tensor in others]
