"""Settings of a profile file: what is refused, what they do to an archive, and that no bit is lost by any of them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from harness.errors import UsageError
from harness.formats.archive import archive_size, open_archive, verify_archive, write_archive
from harness.formats.base import PROFILES, UnsupportedProfile, load_format
from harness.formats.opening import detect
from harness.formats.profile_file import parse_profile_file, profile_text, read_profile_file
from harness.formats.settings import Settings, configured, search_space
from harness.testing.samples import N
from harness.trace.schema import Role, tensor
from tests.formats.samples import INSTALLED, assert_same, put, trace_of

TUNABLE = [name for name in INSTALLED if search_space(load_format(name))]
HEAD = 'version = 1\nname = "mine"\n'


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    found: dict[str, np.ndarray] = {}
    for path, shape in (
        ("pair/layer_0", (N, N, 8)), ("attention/layer_0", (4, N, N)), ("single/layer_0", (N, 16)),
        ("activations/layer_0/mlp", (N, 5)), ("outputs/coordinates", (N, 3)),
    ):  # fmt: skip
        values = rng.standard_normal(shape, np.float32)
        values.reshape(-1)[:3] = np.nan, -0.0, np.inf
        found[path] = values
    return found


def specs(arrays):
    return [tensor(path, array.shape) for path, array in arrays.items()]


def settings(name: str, role: Role, **values: int | str) -> Settings:
    return Settings(profile="mine", format=name, why="a test", chosen=((role, tuple(values.items())),))


def one_by_one() -> list[tuple[str, Role, str, int | str]]:
    return [
        (name, role, parameter.name, value)
        for name in TUNABLE
        for role, parameters in search_space(load_format(name)).items()
        for parameter in parameters
        for value in parameter.values
    ]


@pytest.mark.parametrize("name", TUNABLE)
def test_no_value_of_any_parameter_loses_a_bit(name, arrays, tmp_path):
    seen = set()
    for number, (_, role, parameter, value) in enumerate(c for c in one_by_one() if c[0] == name):
        profile = settings(name, role, **{parameter: value})
        spec = next((s for s in specs(arrays) if s.role is role), None)
        if spec is None:  # no name has the role of unknown arrays, whose parameters are those of activations
            assert role is Role.ARRAY
            continue
        layout = load_format(name).layout(spec, profile)
        key = (role, layout.chunks, layout.shards, layout.codec)
        if key in seen:  # the tensor is too small to show this value
            continue
        seen.add(key)
        (folder := tmp_path / str(number)).mkdir()
        array = arrays[spec.path]
        path = put(folder, name, {spec.path: array}, profile)
        part = (slice(3, 4), slice(2, 5), slice(1, 4))[: array.ndim]
        with open_archive(path, configured(load_format(name), profile)) as (_, reader, _):
            assert_same(reader.read(spec.path), array)
            assert_same(reader.read(spec.path, part), array[part].copy())
        assert verify_archive(path) == []
    assert len(seen) >= len({role for _, role, _, _ in one_by_one()})


@pytest.mark.parametrize("name", TUNABLE)
def test_the_defaults_of_the_search_space_are_the_profile_tuned(name, arrays):
    backend = load_format(name)
    for spec in specs(arrays):
        values = {p.name: p.default for p in search_space(backend).get(spec.role, ())}
        explicit, tuned = backend.layout(spec, settings(name, spec.role, **values)), backend.layout(spec, "tuned")
        assert (explicit.chunks, explicit.shards, explicit.codec) == (tuned.chunks, tuned.shards, tuned.codec)
        assert (explicit.origin, explicit.why) == ("chosen", "a test")
    for parameters in search_space(backend).values():
        assert all(p.default in p.values and not p.refusal(p.default) for p in parameters)


def test_a_rule_scales_with_the_tensor():
    backend = load_format("hdf5")
    profile = settings("hdf5", Role.PAIR, edge=64)
    assert backend.layout(tensor("pair/layer_0", (2048, 2048, 128)), profile).chunks == (64, 64, 128)
    assert backend.layout(tensor("pair/layer_0", (100, 100, 8)), profile).chunks == (50, 50, 8)


def test_the_chunks_of_a_part_are_those_of_the_whole():
    whole, part = tensor("pair/layer_0", (2048, 2048, 128)), tensor("pair/layer_0", (64, 2048, 128))
    profile = Settings(
        profile="mine", format="zarr-slim", why="", chosen=((Role.PAIR, (("edge", 40),)),),
        whole=((whole.path, whole.shape),),
    )  # fmt: skip
    backend = load_format("zarr-slim")
    assert backend.layout(part, profile).chunks == backend.layout(whole, profile).chunks == (40, 40, 128)
    assert backend.layout(part, settings("zarr-slim", Role.PAIR, edge=40)).chunks == (32, 40, 128)


def test_equal_values_in_two_roles_with_two_codecs_are_read_as_they_were(tmp_path):
    """Encoded chunks are shared between equal tensors: not where the codec differs."""
    values = np.random.default_rng(1).standard_normal((N, N, N)).astype(np.float32)
    arrays = {"attention/layer_0": values, "pair/layer_0": values}
    profile = Settings(
        profile="mine", format="zarr-slim", why="",
        chosen=(
            (Role.ATTENTION, (("edge", 23), ("share_bytes", 1 << 16), ("codec", "blosc-lz4-9 bit shuffle"))),
            (Role.PAIR, (("edge", 23),)),
        ),
    )  # fmt: skip
    path = put(tmp_path, "zarr-slim", arrays, profile)
    assert verify_archive(path) == []
    with open_archive(path) as (_, reader, _):
        for name, array in arrays.items():
            assert_same(reader.read(name), array)


def test_a_row_of_chunks_shares_a_file(arrays, tmp_path):
    for name in ("loose", "together"):
        (tmp_path / name).mkdir()
    loose = put(tmp_path / "loose", "zarr", arrays, settings("zarr", Role.PAIR, edge=16))
    together = put(tmp_path / "together", "zarr", arrays, settings("zarr", Role.PAIR, edge=16, shards="row"))
    assert archive_size(loose)[1] - archive_size(together)[1] == 9 - 3  # three rows of three chunks


def test_a_tensor_shares_a_file_up_to_64_mib(arrays, tmp_path):
    profile = settings("zarr", Role.PAIR, edge=16, shards="tensor")
    path = put(tmp_path, "zarr", arrays, profile)
    assert [
        file.name for file in (path / "pair/layer_0").rglob("*") if file.is_file() and file.name != "zarr.json"
    ] == ["0"]
    assert verify_archive(path) == []
    layout = load_format("zarr").layout(tensor("pair/layer_0", (512, 512, 128)), profile)  # 128 MiB
    assert layout.chunks == (16, 16, 128) and layout.shards == (256, 512, 128)


def test_settings_of_another_format_are_not_taken(arrays, tmp_path):
    with pytest.raises(UnsupportedProfile, match="made for hdf5"):
        put(tmp_path, "zarr", arrays, settings("hdf5", Role.PAIR, edge=16))
    assert list(tmp_path.iterdir()) == []


def test_a_file_says_what_its_text_says():
    text = profile_text(
        "mine", {"command": 'a "quoted" one', "n_res": 5},
        {"zarr-slim": {Role.PAIR: {"edge": 48}}, "hdf5": {Role.ATTENTION: {"share_bytes": 7, "codec": "none"}}},
    )  # fmt: skip
    file = parse_profile_file(text, "it")
    assert file.name == "mine" and file.text == text
    found = file.of(load_format("hdf5"))
    assert found.values(Role.ATTENTION) == {"share_bytes": 7, "codec": "none"} and found.values(Role.PAIR) == {}
    assert found.why == "profile file mine" and found.profile == "mine"
    assert file.of(load_format("npz")) is None
    assert parse_profile_file(f"{HEAD}[origin]\nsample = 0.5\n[formats.hdf5.pair]\nedge = 3", "by hand")
    assert hash(found) == hash(parse_profile_file(text, "it").of(load_format("hdf5")))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("version = 1 name", ["The text: is not TOML"]),
        ('version = 2\nname = "x"\n[formats.hdf5.pair]', ["version 2"]),
        ('name = "x"\n[formats.hdf5.pair]', ["expected the field version"]),
        ("version = 1\n[formats.hdf5.pair]", ["expected the field name"]),
        *((f'version = 1\nname = "{name}"\n[formats.hdf5.pair]', ["name is"]) for name in ("", "a/b", *PROFILES)),
        (HEAD, ["expected the field formats"]),
        (f"{HEAD}[formats]", ["settings for no format"]),
        (f"{HEAD}formats = 3", ["$.formats", "expected object, got int"]),
        (f"{HEAD}\nspeed = 3\n[formats.hdf5.pair]", ["$.speed expected no such field"]),
        (f"{HEAD}[origin]\nmood = 3\n[formats.hdf5.pair]", ["$.origin.mood expected no such field"]),
        (f"{HEAD}[formats.hdf6.pair]", ["the text, formats", "no format named 'hdf6'", "'hdf5'"]),
        (f"{HEAD}[formats.raw.pair]", ["'raw' has nothing that could be chosen"]),
        (f"{HEAD}[formats.hdf5.pears]", ["no role of hdf5 named 'pears'", "pair"]),
        (f"{HEAD}[formats.hdf5.input]", ["no role of hdf5 named 'input'"]),
        (f"{HEAD}[formats.hdf5]\npair = 3", ["expected object, got int"]),
        (f"{HEAD}[formats.hdf5.pair]\nedges = 3", ["no key of formats.hdf5.pair named 'edges'", "edge"]),
        *(
            (f"{HEAD}[formats.hdf5.pair]\nedge = {value}", ["edge is", "whole number above 0"])
            for value in ("0", "-3", "1.5", "true", '"big"')
        ),
        (f'{HEAD}[formats.hdf5.pair]\ncodec = "pcodec-8"', ["codec is 'pcodec-8'", "blosc-lz4-5 bit shuffle", "none"]),
        (f"{HEAD}[formats.hdf5.pair]\ncodec = 3", ["codec is 3", "choose one of"]),
        (f'{HEAD}[formats.zarr.pair]\nshards = "all"', ["shards is 'all'", "'row'"]),
        (f'{HEAD}[formats.zarr.pair]\npipeline = "zarrs"', ["pipeline is 'zarrs'", "leave it out and give --readers"]),
        (f'{HEAD}[formats.hdf5.pair]\npipeline = "zarrs"', ["no key of formats.hdf5.pair named 'pipeline'"]),
    ],
)
def test_a_file_that_cannot_be_is_refused(text, parts):
    with pytest.raises(UsageError) as refused:
        parse_profile_file(text, "the text")
    assert all(part in str(refused.value) for part in parts), str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_an_earlier_file_says_of_the_default_pipeline_is_read():
    file = parse_profile_file(f'{HEAD}[formats.zarr.pair]\nedge = 16\npipeline = "default"\nshards = "row"', "it")
    assert file.settings[0].values(Role.PAIR) == {"edge": 16, "shards": "row"}


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_profile_file(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not TOML"):
        read_profile_file(tmp_path / "bytes.toml")


def test_every_parameter_says_what_it_decides():
    for name, role in itertools.product(TUNABLE, Role):
        for parameter in search_space(load_format(name)).get(role, ()):
            assert parameter.about and len(set(parameter.values)) == len(parameter.values)


def test_hdf5_with_large_pages_is_recognised_and_verified(tmp_path):
    path = tmp_path / "a.h5"
    write_archive(trace_of({"pair/layer_0": np.ones((8, 8, 4), np.float32)}), load_format("hdf5"), path, "large-pages")
    assert path.stat().st_size >= 1 << 20
    assert detect(path).name == "hdf5"
    assert verify_archive(path) == []
