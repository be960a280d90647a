"""Archives, bundles and streams that are small, and state or hold far more than they are."""

from __future__ import annotations

import io
import json
import lzma
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numcodecs
import numpy as np

from benchmarks.directories import af2
from harness.extensions.result_directories.slimming import slim
from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.formats.seal import BLANK, files_of, seal
from harness.trace.sources import open_trace

_TRACE = "synthetic:n_res=16,layers=1,heads=2"
_MEGABYTE = bytes(1 << 20)
_Make = Callable[[Path], object]
_MANIFEST = "metadata/manifest.json"


def hostile() -> Iterator[tuple[str, tuple[str, ...], _Make]]:
    """Yield a name, a command line and what puts its input into a folder."""
    yield from _bundles()
    yield from _arrays()
    yield from _chunks()
    yield from _others()
    yield from _streams()


def _bundles() -> Iterator[tuple[str, tuple[str, ...], _Make]]:
    check = ("check", "x.zip")
    yield "bundle with 1.5 GB", check, lambda folder: _zipped(folder / "x.zip", {"run/samples.csv": 1500})
    yield (
        "bundle with 120 MB in each of 10",
        check,
        lambda f: _zipped(f / "x.zip", {f"run/{n}": 120 for n in range(10)}),
    )
    yield "bundle with a manifest of 100 MB", check, lambda f: _zipped(f / "x.zip", {"run/manifest.json": 100})
    yield "bundle with 150,000 files", check, lambda f: _zipped(f / "x.zip", {f"run/{n}": 0 for n in range(150_000)})
    yield "bundle with files over each other", check, lambda f: _overlapping(f / "x.zip")
    yield "bundle with a wrong size", check, lambda f: _wrong_size(f / "x.zip", {"run/manifest.json": 400})
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield (
            f"bundle by method {method}",
            check,
            lambda f, m=method: _zipped(f / "x.zip", {"run/manifest.json": 60}, m),
        )  # type: ignore[misc]
    yield "bundle with a nested manifest", check, lambda f: _text(f / "x.zip", "run/manifest.json", "[" * 30_000_000)
    wide = '{"bundle_version": 1, "sha256": {}, "sample_rows": [' + "[]," * 20_000_000 + "[]]}"
    yield "bundle with a wide manifest", check, lambda f: _text(f / "x.zip", "run/manifest.json", wide)


def _arrays() -> Iterator[tuple[str, tuple[str, ...], _Make]]:
    for command in ("inspect", "verify"):
        yield f"npz with a manifest of 1.2 GB, {command}", (command, "x.npz"), lambda f: _npz(f, {_MANIFEST: 1200})
        yield (
            f"npz with 150,000 members, {command}",
            (command, "x.npz"),
            lambda f: _npz(f, {f"{n}.npy": 0 for n in range(150_000)}),
        )
        yield (
            f"npz with a wrong size, {command}",
            (command, "x.npz"),
            lambda f: _wrong_size(f / "x.npz", {_MANIFEST: 400}),
        )
        yield (
            f"hdf5 with a manifest of a terabyte, {command}",
            (command, "x.h5"),
            lambda f: _hdf5(f / "x.h5", chunks=None),
        )
        yield (
            f"hdf5 with a manifest in chunks, {command}",
            (command, "x.h5"),
            lambda f: _hdf5(f / "x.h5", chunks=(1 << 30,)),
        )
        yield f"raw with a manifest of 2**60 bytes, {command}", (command, "x.raw"), lambda f: _raw(f / "x.raw", 1 << 60)
        yield f"raw with a hole as manifest, {command}", (command, "x.raw"), lambda f: _raw(f / "x.raw", 1 << 27)
        yield (
            f"safetensors with a header of 2**60, {command}",
            (command, "x.st"),
            lambda f: (f / "x.st").write_bytes((1 << 60).to_bytes(8, "little") + b"{"),
        )
        yield f"zarr with metadata of 200 MB, {command}", (command, "x"), lambda f: _zarr(f / "x", b" " * (200 << 20))
        yield f"zarr with nested metadata, {command}", (command, "x"), lambda f: _zarr(f / "x", b"[" * (60 << 20))
        yield (
            f"zarr with wide metadata, {command}",
            (command, "x"),
            lambda f: _zarr(f / "x", b"[" + b"[]," * (20 << 20) + b"[]]"),
        )
    for shape in ((1 << 40,), (1 << 62, 0), (1,) * 40, (3,)):
        yield (
            f"npz of shape {shape[:2]}",
            ("convert", "msa_row_attn_layer0.npz", "y.raw"),
            lambda f, s=shape: _shaped(f, s),
        )  # type: ignore[misc]


def _chunks() -> Iterator[tuple[str, tuple[str, ...], _Make]]:
    """Archives with an unbroken seal, whose chunks decode to gigabytes."""
    for command in (("verify", "x"), ("convert", "x", "y.raw")):
        for name in ("blosc", "gzip", "zstd"):
            yield f"zarr of chunks by {name}, {command[0]}", command, lambda f, n=name: _zarr_chunks(f / "x", n)  # type: ignore[misc]
        for name in ("blosc", "bitshuffle", "gzip"):
            yield f"hdf5 of chunks by {name}, {command[0]}", command, lambda f, n=name: _hdf5_chunks(f / "x", n)  # type: ignore[misc]
        yield f"zarr of a terabyte of nothing, {command[0]}", command, lambda f: _nothing(f / "x")
    yield (
        "npz of an attention of 2 GB",
        ("convert", "msa_row_attn_layer0.npz", "y.raw"),
        lambda f: _attention(f / "msa_row_attn_layer0.npz"),
    )


def _others() -> Iterator[tuple[str, tuple[str, ...], _Make]]:
    command = ("convert", "x", "y.raw")
    yield "torch file of strides 0", command, lambda f: _torch(f, (8, 1 << 14, 1 << 14), (0, 0, 0))
    yield "torch file of many axes", command, lambda f: _torch(f, (1,) * 30_000, (0,) * 30_000)
    yield "torch file of huge axes", command, lambda f: _torch(f, (1 << 900, 0), (0, 0))
    yield "torch file with a pickle of 1 GB", command, lambda f: _torch_bomb(f)
    yield (
        "text of 200 MB",
        ("convert", "msa_row_attn_layer0.txt", "y.raw", "--kind", "vizfold-attention"),
        lambda f: _sparse(f / "msa_row_attn_layer0.txt", 200 << 20),
    )
    yield (
        "pickle of a terabyte",
        ("convert", "result_model_1.pkl", "y.raw"),
        lambda f: _sparse(f / "result_model_1.pkl", 1 << 40),
    )
    yield (
        "profile file of 2 GB",
        ("convert", _TRACE, "y.npz", "--profile-file", "x"),
        lambda f: _sparse(f / "x", 2 << 30),
    )
    yield "history of a terabyte", ("history", "show", "--file", "x"), lambda f: _sparse(f / "x", 1 << 40)
    yield (
        "run.json of a terabyte",
        ("report", "x"),
        lambda f: ((f / "x").mkdir(), _sparse(f / "x" / "run.json", 1 << 40)),
    )


def _streams() -> Iterator[tuple[str, tuple[str, ...], _Make]]:
    yield "xz of 2 GB where 1 byte is stated", ("unslim", "x"), lambda f: _slimmed(f / "x", _xz(2000), 1)
    yield "xz of 2 GB with its own size", ("unslim", "x"), lambda f: _slimmed(f / "x", _xz(2000), None)
    yield "xz with a window of 4 GB", ("unslim", "x"), lambda f: _slimmed(f / "x", _wide_xz(), None)


def _zipped(path: Path, sizes: dict[str, int], method: int = zipfile.ZIP_DEFLATED) -> None:
    """Write a zip file of members that are so many megabytes of zeros."""
    with zipfile.ZipFile(path, "w", method, compresslevel=None if method == zipfile.ZIP_LZMA else 9) as file:
        for name, size in sizes.items():
            with file.open(name, "w") as member:
                for _ in range(size):
                    member.write(_MEGABYTE)


def _text(path: Path, name: str, text: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, text)


def _overlapping(path: Path) -> None:
    """Let the directory name one member ten thousand times."""
    _zipped(path, {"run/manifest.json": 50})
    data = path.read_bytes()
    start = data.index(b"PK\x01\x02")
    entry, end = data[start : data.index(b"PK\x05\x06")], bytearray(data[data.index(b"PK\x05\x06") :])
    entries = b"".join(entry.replace(b"manifest.json", b"%013d" % number) for number in range(10_000))
    end[8:10] = end[10:12] = (10_000).to_bytes(2, "little")
    end[12:16] = len(entries).to_bytes(4, "little")
    path.write_bytes(data[:start] + entries + end)


def _wrong_size(path: Path, sizes: dict[str, int]) -> None:
    """State ten bytes of the first member, whatever it holds."""
    _zipped(path, sizes)
    data = bytearray(path.read_bytes())
    start = data.index(b"PK\x01\x02")
    data[start + 24 : start + 28] = (10).to_bytes(4, "little")
    path.write_bytes(data)


def _npz(folder: Path, sizes: dict[str, int]) -> None:
    path = folder / "x.npz"
    _zipped(path, sizes)
    with zipfile.ZipFile(path, "a") as file:
        file.comment = BLANK.encode()
    seal(path)


def _attention(path: Path) -> None:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("attn.npy", "w", force_zip64=True) as member,
    ):
        header = {"descr": "<f4", "fortran_order": False, "shape": (2, 1 << 14, 1 << 14)}
        np.lib.format.write_array_header_1_0(member, header)
        for _ in range(2 << 10):
            member.write(_MEGABYTE)


def _deflated(size: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(_MEGABYTE) for _ in range(size >> 20)), packer.flush()])


def _sealed_again(path: Path, file: Path) -> None:
    data = file.read_bytes()
    at = data.index(BLANK[:-64].encode()) + len(BLANK) - 64
    file.write_bytes(data[:at] + b"0" * 64 + data[at + 64 :])
    seal(path)


def _nodes(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the metadata of every array of a Zarr archive, and of its consolidated copy."""
    for file in path.rglob("zarr.json"):
        document = json.loads(file.read_text())
        nodes = document.get("consolidated_metadata", {}).get("metadata", {}).values()
        for node in (document, *nodes):
            if node["node_type"] == "array":
                change(node)
        file.write_text(json.dumps(document))


def _zarr_chunks(path: Path, codec: str) -> None:
    write_archive(open_trace(_TRACE), load_format("zarr"), path)
    size = (2 << 30) - (1 << 20)
    if codec == "blosc":
        chunk = numcodecs.Blosc("zstd", 5, 0).encode(np.zeros(size, np.uint8))
    elif codec == "zstd":
        chunk = numcodecs.Zstd(3).encode(np.zeros(size, np.uint8))
    else:
        packer = zlib.compressobj(9, wbits=31)
        chunk = b"".join([*(packer.compress(_MEGABYTE) for _ in range(size >> 20)), packer.flush()])
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    settings = {"gzip": {"level": 5}, "zstd": {"level": 3, "checksum": False}}
    if codec != "blosc":
        _nodes(path, lambda node: node.update(codecs=[little, {"name": codec, "configuration": settings[codec]}]))
    for file in files_of(path):
        if file.name != "zarr.json":
            file.write_bytes(chunk)
    _sealed_again(path, path / "zarr.json")


def _nothing(path: Path) -> None:
    """State a large tensor of which no chunk is stored."""
    write_archive(open_trace(_TRACE), load_format("zarr"), path)
    name, shape = "activations/layer_0/pair_repr", [16, 16, 1 << 31]
    shutil.rmtree(path / name / "c", ignore_errors=True)
    for file in path.rglob("zarr.json"):
        document = json.loads(file.read_text())
        nodes = document.get("consolidated_metadata", {}).get("metadata", {})
        within = (document,) if file.parent == path / name else (nodes[name],) if name in nodes else ()
        for node in within:
            node["shape"] = shape
        own = document.get("attributes", {}).get("trace_format_harness")
        if own:
            manifest = json.loads(own["manifest"])
            next(spec for spec in manifest["tensors"] if spec["path"] == name)["shape"] = shape
            own["manifest"] = json.dumps(manifest)
        file.write_text(json.dumps(document))
    _sealed_again(path, path / "zarr.json")


def _hdf5_chunks(path: Path, codec: str) -> None:
    write_archive(open_trace(_TRACE), load_format("hdf5"), path)
    size = (2 << 30) - (1 << 20)
    options: dict[str, Any] = {
        "blosc": dict(hdf5plugin.Blosc(cname="zstd")),
        "bitshuffle": dict(hdf5plugin.Bitshuffle(cname="lz4")),
        "gzip": {"compression": "gzip"},
    }[codec]
    chunk = {
        "blosc": lambda: numcodecs.Blosc("zstd", 5, 0).encode(np.zeros(size, np.uint8)),
        "bitshuffle": lambda: size.to_bytes(8, "big") + (1 << 20).to_bytes(4, "big") + bytes(100),
        "gzip": lambda: _deflated(size),
    }[codec]()
    with h5py.File(path, "r+") as file:
        name = "attention/layer_0"
        shape, dtype, chunks = file[name].shape, file[name].dtype, file[name].chunks
        del file[name]
        made = file.create_dataset(name, shape, dtype, chunks=chunks, **options)
        made.id.write_direct_chunk((0,) * len(shape), chunk)
    _sealed_again(path, path)


def _shaped(folder: Path, shape: tuple[int, ...]) -> None:
    with zipfile.ZipFile(folder / "msa_row_attn_layer0.npz", "w") as file, file.open("attn.npy", "w") as member:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(member, header)
        member.write(bytes(16))


def _hdf5(path: Path, chunks: tuple[int, ...] | None) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("metadata/manifest", ((1 << 40) if chunks is None else chunks[0],), np.uint8, chunks=chunks)
    with path.open("r+b") as raw:
        raw.write(BLANK.encode())
    seal(path)


def _raw(path: Path, length: int) -> None:
    with path.open("wb") as file:
        file.truncate(min(length, 1 << 27))
        file.seek(0, 2)
        file.write(length.to_bytes(8, "little") + bytes(8) + BLANK.encode() + b"TFHRAW02")
    seal(path)


def _zarr(path: Path, document: bytes) -> None:
    write_archive(open_trace(_TRACE), load_format("zarr"), path)
    (path / "zarr.json").write_bytes(document)


def _torch(folder: Path, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    import pickle

    def numbers(values: tuple[int, ...]) -> bytes:
        return (
            pickle.dumps(values, 4)[2:-1].partition(b"\x95")[2][8:]
            if len(values) > 3
            else pickle.dumps(values, 2)[2:-1]
        )

    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ"
    made = (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + numbers(shape) + numbers(strides) + b"\x89}tR."
    )
    _traced(folder, {"x/data.pkl": b"\x80\x04" + made, "x/data/0": bytes(4)})


def _torch_bomb(folder: Path) -> None:
    place = folder / "x" / "trace" / "attention"
    place.mkdir(parents=True)
    _zipped(place / "layer_0.pt", {"x/data.pkl": 1000})


def _traced(folder: Path, members: dict[str, bytes]) -> None:
    place = folder / "x" / "trace" / "attention"
    place.mkdir(parents=True)
    with zipfile.ZipFile(place / "layer_0.pt", "w") as file:
        for name, data in members.items():
            file.writestr(name, data)


def _sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.write(b"\x80\x04")
        file.truncate(size)


def _xz(megabytes: int) -> bytes:
    packer, out = lzma.LZMACompressor(preset=1), io.BytesIO()
    for _ in range(megabytes):
        out.write(packer.compress(_MEGABYTE))
    return out.getvalue() + packer.flush()


def _wide_xz() -> bytes:
    packed, head = lzma.compress(b"a"), bytes([2, 0, 0x21, 1, 40, 0, 0, 0])
    return packed[:12] + head + zlib.crc32(head).to_bytes(4, "little") + packed[24:]


def _slimmed(path: Path, stream: bytes, size: int | None) -> None:
    """Put a stream in the place of a file of a slimmed directory, and state another size of it."""
    af2(path)
    slim(path, "slim")
    packed = next(path.rglob("*.xz"), None) or next(path.rglob("*.slim"))
    packed.write_bytes(stream)
    for file in path.iterdir():
        if file.suffix == ".json" and "slim_manifest" in file.read_text():
            document = json.loads(file.read_text())
            for found in _dictionaries(document):
                if isinstance(found.get("size"), int):
                    found["size"] = (2000 << 20) if size is None else size
            file.write_text(json.dumps(document))


def _dictionaries(value: object) -> Iterator[dict[str, object]]:
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _dictionaries(part)
