"""Bad input gets one sentence, an exit code and no traceback, and changes nothing."""

from __future__ import annotations

import errno
import json
import os
import pickle
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.directories import MODELS, af2, af3, digests, openfold3, result
from harness.cli import main
from harness.extensions.result_directories import container, disk, reading, steps
from harness.extensions.result_directories.manifest import NAME
from harness.foreign import pickles

PKL = f"result_{MODELS[0]}.pkl"
PAE = f"pae_{MODELS[0]}.json"


def refused(capsys, arguments, code, *parts):
    assert main([str(argument) for argument in arguments]) == code
    said = capsys.readouterr().err
    for part in parts:
        assert part in said, said
    assert "Traceback" not in said and len(said.strip().splitlines()) == 1
    return said


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--mode", "minimal"], ["needs --bound"]),
        (["--mode", "slim", "--bound", "0.1"], ["takes no --bound"]),
        (["--mode", "minimal", "--bound", "x"], ["a number of Angstrom, not 'x'"]),
        (["--mode", "minimal", "--bound", "-1"], ["not -1"]),
        (["--mode", "minimal", "--bound", "nan"], ["not nan"]),
        (["--mode", "minimal", "--bound", "0"], ["not 0"]),
        (["--mode", "slimm"], ["no mode named 'slimm'", "'slim'"]),
        (["--plain", "bset"], ["'best'"]),
    ],
)
def test_options_that_do_not_fit(capsys, tmp_path, options, parts):
    folder = af2(tmp_path / "job", 4)
    before = digests(folder)
    refused(capsys, ["slim", folder, *options], 2, *parts)
    assert digests(folder) == before


def test_a_directory_of_neither(capsys, tmp_path):
    refused(capsys, ["slim", tmp_path], 2, "neither a result directory of AlphaFold2 nor")
    (tmp_path / "notes.pkl").write_bytes(pickle.dumps({"plddt": 1}))
    (tmp_path / "other_confidences.json").write_text('{"mine": 1}')
    (tmp_path / "ranking_scores.csv").write_text("name,score\nme,1\n")
    (tmp_path / "ranking_debug.json").write_text('{"best": 1}')
    before = digests(tmp_path)
    refused(capsys, ["slim", tmp_path], 2, "neither a result directory of AlphaFold2 nor")
    refused(capsys, ["slim", tmp_path / "no"], 2, "There is no directory")
    refused(capsys, ["slim", tmp_path / "notes.pkl"], 2, "There is no directory")
    refused(capsys, ["unslim", tmp_path], 2, f"it has no {NAME}")
    refused(capsys, ["unslim", tmp_path / "no"], 2, "There is no directory")
    assert digests(tmp_path) == before


def test_content_decides_and_not_names(capsys, tmp_path):
    folder = af2(tmp_path / "af2", 8)
    for name in ("ranking_debug.json", *(f"pae_{model}.json" for model in MODELS)):
        (folder / name).unlink()
    assert main(["slim", str(folder), "--quiet"]) == 0
    folder = af3(tmp_path / "af3", 8)
    (folder / "ranking_scores.csv").unlink()
    assert main(["slim", str(folder), "--quiet"]) == 0
    folder = openfold3(tmp_path / "of3", 8)
    for path in folder.glob("*_confidences.json"):
        path.write_text("{}")
    capsys.readouterr()
    refused(capsys, ["slim", folder], 2, "neither")


@pytest.mark.parametrize(
    ("name", "damage", "part"),
    [
        (PKL, lambda data: data[: len(data) // 2], "the pickle is truncated or damaged"),
        (PKL, lambda data: b"", "the pickle is truncated or damaged"),
        (PKL, lambda data: bytes(200), "the pickle is truncated or damaged"),
        (PKL, lambda data: data.replace(b"ndarray", b"ndarrax"), "it asks for numpy.ndarrax"),
        (PAE, lambda data: data[:-30], "the JSON is truncated or damaged"),
        (PAE, lambda data: b"\xff\xfe" + data, "the JSON is truncated or damaged"),
        (PAE, lambda data: b"[" * 100_000, "the JSON is truncated or damaged"),
    ],
)
def test_a_damaged_file_is_named_and_left_and_the_others_are_slimmed(capsys, tmp_path, name, damage, part):
    folder = af2(tmp_path / "job", 8)
    path = folder / name
    path.write_bytes(damage(path.read_bytes()))
    before = digests(folder)
    refused(capsys, ["slim", folder], 1, f"{name} was left as it was: ", part)
    assert digests(folder)[name] == before[name]
    assert not (folder / f"result_{MODELS[1]}.pkl").exists()
    refused(capsys, ["slim", folder], 1, f"{name} was left as it was: ", part)
    assert main(["unslim", str(folder), "--quiet"]) == 0
    assert digests(folder) == before


@pytest.mark.parametrize(("make", "name"), [(af2, "ranking_debug.json"), (af3, "ranking_scores.csv")])
@pytest.mark.parametrize("content", ["[" * 100_000, "{", "seed,sample,ranking_score\n1,x,0.3\n", '{"order": []}'])
def test_a_damaged_ranking_changes_nothing(capsys, tmp_path, make, name, content):
    folder = make(tmp_path / "job", 8)
    if name.endswith("csv") and content.startswith('{"'):
        content = "seed,sample\n1,0\n"
    (folder / name).write_text(content if not (name.endswith("csv") and content == "{") else "seed\n4\n")
    before = digests(folder)
    refused(capsys, ["slim", folder], 1, "the best prediction is unknown; nothing was changed")
    assert digests(folder) == before


class Runs:
    """A pickle of it runs something."""

    def __init__(self, call, *arguments):
        self.reduced = call, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize(
    ("call", "arguments", "wanted"),
    [
        (os.system, ("touch {}",), "posix.system"),
        (eval, ("open('{}', 'w')",), "builtins.eval"),
        (subprocess.Popen, (["touch", "{}"],), "subprocess.Popen"),
        (getattr, ("x", "y"), "builtins.getattr"),
        (shutil.rmtree, ("{}",), "shutil.rmtree"),
    ],
)
def test_a_hostile_pickle_is_refused_by_name_and_left(capsys, tmp_path, call, arguments, wanted):
    folder = af2(tmp_path / "job", 8)
    witness = tmp_path / "witness"
    arguments = tuple(
        a.format(witness) if isinstance(a, str) else [part.format(witness) for part in a] for a in arguments
    )
    hostile = pickle.dumps({"plddt": 1.0, "structure_module": Runs(call, *arguments)})
    (folder / PKL).write_bytes(hostile)
    refused(capsys, ["slim", folder], 1, f"{PKL} was left as it was: the pickle is refused: it asks for {wanted}")
    assert (folder / PKL).read_bytes() == hostile and not witness.exists()
    with pytest.raises(pickles.PickleRefused, match="it asks for"):
        container.content(reading.read_file(folder, f"result_{MODELS[0]}.pkl"))
    assert not witness.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04cnumpy\ndtype\n(NX\x0c\x00\x00\x00__defaults__K\x01\x85\x94sb.",  # changes what it is given
        b"\x80\x04cnumpy\ndtype\nN}X\x05\x00\x00\x00_callK\x01s\x86b.",
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.",
        b"\x80\x02\x82\x01.",  # an extension code
        b"\x80\x04Pid\n.",  # a persistent id
        b"\x80\x04" + b"]\x94" + b"".join(b"]\x94(h%ch%ce" % (n, n) for n in range(40)) + b".",  # a walk without end
        b"\x80\x04]\x94h\x00a.",  # a list that holds itself
        b"\x80\x04" + b"]" * 200 + b"a" * 199 + b".",  # nested deeper than results are
    ],
)
def test_tricks_with_opcodes_are_refused(data):
    with pytest.raises(pickles.PickleRefused):
        pickles.load(data)


def test_a_newer_manifest_is_refused_by_name(capsys, tmp_path):
    folder = af2(tmp_path / "job", 8)
    main(["slim", str(folder), "--quiet"])
    facts = json.loads((folder / NAME).read_text())
    (folder / NAME).write_text(json.dumps({**facts, "slim_manifest": 9, "harness": "7.1"}))
    before = digests(folder)
    capsys.readouterr()
    for command in ("slim", "unslim"):
        refused(capsys, [command, folder], 2, f"{NAME} has version 9; this reader knows version 1")
    assert digests(folder) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:100],
        lambda text: "[]",
        lambda text: text.replace('"fate": "packed"', '"fate": "eaten"'),
        lambda text: text.replace(f'"{PKL}": {{', '"../outside": {'),
        lambda text: text.replace(f'"{PKL}": {{', '"/etc/passwd": {'),
        lambda text: text.replace(f'"survives_in": "{PKL}', '"survives_in": "ranked_0.pdb'),
        lambda text: text.replace('"size": ', '"size": "x", "s": '),
        lambda text: text.replace('"before": {', '"before": 3, "b": {'),
        lambda text: text.replace('"bound": null', '"bound": []'),
        lambda text: "[" * 100_000,
        lambda text: text.replace('"slim_manifest": 1', '"slim_manifest": "1"'),
        lambda text: re.sub(r'"mode": \d+', '"mode": 65535', text),
        lambda text: re.sub(r'"mtime_ns": \d+', f'"mtime_ns": {2**63}', text),
        lambda text: re.sub(r'"size": \d+', '"size": -1', text),
        lambda text: text.replace(f'"{PKL}": {{', '"a\\u0000b": {'),
        lambda text: text.replace(f'"{PKL}": {{', '"a\\u001b[31mb": {'),
        lambda text: text.replace(f'"{PKL}": {{', '"a//b": {'),
        lambda text: text.replace(f'"{PKL}": {{', '"\\ud800": {'),
        lambda text: text.replace(f'"{PKL}": {{', f'"{NAME}": {{'),
        lambda text: text.replace('"best": [', '"best": [' + "[" * 70),
        lambda text: text.replace('"sha256": ', '"sha": '),
        lambda text: re.sub(r'"mode": \d+', '"mode": "x"', text),
        lambda text: re.sub(r'"mtime_ns": \d+', '"mtime_ns": []', text),
        lambda text: text.replace('"arrays": []', '"arrays": [3]'),
    ],
)
def test_a_damaged_manifest_changes_nothing(capsys, tmp_path, change):
    folder = af2(tmp_path / "job", 8)
    main(["slim", str(folder), "--quiet"])
    (folder / NAME).write_text(change((folder / NAME).read_text()))
    before = digests(tmp_path)
    capsys.readouterr()
    for command in ("slim", "unslim"):
        refused(capsys, [command, folder], 2, NAME, "nothing was changed")
    assert digests(tmp_path) == before


def test_a_manifest_of_copies_of_copies_is_damaged(capsys, tmp_path):
    folder = af3(tmp_path / "job", 8)
    main(["slim", str(folder), "--quiet"])
    facts = json.loads((folder / NAME).read_text())
    entry = facts["items"]["job_confidences.json"]
    facts["items"][entry["survives_in"]] = {**entry, "survives_in": "job_confidences.json"}
    (folder / NAME).write_text(json.dumps(facts))
    capsys.readouterr()
    for command in ("slim", "unslim"):
        refused(capsys, [command, folder], 2, "is a copy of a copy", "nothing was changed")


def test_what_has_the_name_of_a_manifest_and_is_none_is_left(capsys, tmp_path):
    folder = af2(tmp_path / "job", 8)
    (folder / NAME).mkdir()
    before = digests(folder)
    refused(capsys, ["slim", folder], 1, f"{NAME} is not a regular file", "rename it")
    assert digests(folder) == before


def test_a_name_as_long_as_names_can_be(capsys, tmp_path):
    folder = af2(tmp_path / "job", 8)
    long = f"result_{'x' * 244}.pkl"
    (folder / long).write_bytes((folder / PKL).read_bytes())  # a copy: nothing is written beside it
    before = digests(folder)
    assert main(["slim", str(folder), "--quiet", "--plain", "none"]) == 0 and not (folder / long).exists()
    assert main(["unslim", str(folder), "--quiet"]) == 0 and digests(folder) == before
    (folder / long).write_bytes(pickle.dumps(result(8, 7)))
    capsys.readouterr()
    refused(capsys, ["slim", folder], 1, "its name is too long to have .xz after it")
    assert main(["unslim", str(folder), "--quiet"]) == 0 and (folder / long).is_file()


@pytest.mark.parametrize("name", [PKL, "ranked_0.pdb"])
def test_a_file_that_cannot_be_read_is_named_and_the_others_are_slimmed(capsys, tmp_path, monkeypatch, name):
    folder = af2(tmp_path / "job", 8)
    before = digests(folder)
    for owner, reader in ((Path, "read_bytes"), (os, "open")):
        real = getattr(owner, reader)

        def read(path, *arguments, real=real, **options):
            if Path(path).name == name:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return real(path, *arguments, **options)

        monkeypatch.setattr(owner, reader, read)
    refused(capsys, ["slim", folder], 1, name, "cannot be read (Permission denied)")
    monkeypatch.undo()
    assert (folder / name).exists() and not (folder / f"result_{MODELS[1]}.pkl").exists()
    assert main(["unslim", str(folder), "--quiet"]) == 0 and digests(folder) == before


def test_a_directory_that_may_not_be_written_in_is_left(capsys, tmp_path, monkeypatch):
    folder = af2(tmp_path / "job", 8)
    before = digests(folder)

    def refuse(handle, data):
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(disk, "_fill", refuse)
    refused(capsys, ["slim", folder], 1, "no file is lost: see that you may write in the directory")
    assert digests(folder) == before


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "swap"])
def test_a_damaged_packed_file_is_told_and_never_replaces_anything(capsys, tmp_path, damage):
    folder = af2(tmp_path / "job", 8)
    main(["slim", str(folder), "--quiet"])
    packed = next(folder.glob(f"{PKL}.*"))
    data = bytearray(packed.read_bytes())
    data[len(data) // 2] ^= 4
    if damage == "remove":
        packed.unlink()
    elif damage == "swap":
        packed.write_bytes(next(folder.glob(f"result_{MODELS[1]}.pkl.*")).read_bytes())
    else:
        packed.write_bytes(bytes(data) if damage == "flip" else bytes(data[:-40]))
    capsys.readouterr()
    refused(capsys, ["unslim", folder], 1, f"{PKL} was not restored")
    assert not (folder / PKL).exists()
    assert (folder / f"result_{MODELS[1]}.pkl").is_file()
    assert (folder / NAME).is_file() and (damage == "remove" or packed.exists())


def test_files_in_the_way_are_left(capsys, tmp_path):
    folder = af2(tmp_path / "job", 20)
    for suffix in (".slim", ".xz"):
        (folder / (PKL + suffix)).write_text("mine")
    before = digests(folder)
    refused(capsys, ["slim", folder], 1, f"{PKL} was left as it was", "is in the way")
    assert (folder / PKL).exists() and (folder / (PKL + ".slim")).read_text() == "mine"
    (folder / f"result_{MODELS[1]}.pkl").write_text("a new run")
    refused(capsys, ["unslim", folder], 1, f"result_{MODELS[1]}.pkl was not restored: another file has this name now")
    (folder / f"result_{MODELS[1]}.pkl").unlink()
    assert main(["unslim", str(folder), "--quiet"]) == 0
    assert digests(folder) == before


def test_a_file_that_changes_meanwhile_is_left(capsys, tmp_path, monkeypatch):
    folder = af2(tmp_path / "job", 8)
    digest = steps.file_digest

    def changed(path):
        if path.name == PKL:
            path.write_bytes(b"another run wrote this")
        return digest(path)

    with monkeypatch.context() as patched:
        patched.setattr(steps, "file_digest", changed)
        refused(capsys, ["slim", folder], 1, f"{PKL} was left as it was: it changed while it was slimmed")
    assert (folder / PKL).read_bytes() == b"another run wrote this"
    assert not list(folder.glob(f"{PKL}.*"))
    assert main(["unslim", str(folder), "--quiet"]) == 0
    assert (folder / PKL).read_bytes() == b"another run wrote this"


def test_a_new_run_over_slimmed_files_is_left(capsys, tmp_path):
    folder = af2(tmp_path / "job", 8)
    main(["slim", str(folder), "--quiet"])
    fresh = af2(tmp_path / "fresh", 9) / PKL
    shutil.copyfile(fresh, folder / PKL)
    capsys.readouterr()
    refused(capsys, ["slim", folder], 1, f"{PKL} was left as it was: it is not what was slimmed before")
    assert (folder / PKL).read_bytes() == fresh.read_bytes()


def test_links_are_not_followed_out_of_the_directory(tmp_path):
    outside = af3(tmp_path / "outside", 8)
    folder = af3(tmp_path / "job", 8)
    shutil.rmtree(folder / "seed-1_sample-0")
    (folder / "seed-1_sample-0").symlink_to(outside / "seed-1_sample-0")
    (folder / "seed-1_sample-2" / "confidences.json").unlink()
    (folder / "seed-1_sample-2" / "confidences.json").symlink_to(outside / "seed-1_sample-2" / "confidences.json")
    before = digests(outside)
    assert main(["slim", str(folder), "--quiet"]) == 0
    assert digests(outside) == before
    assert (folder / "seed-1_sample-0").is_symlink() and (folder / "seed-1_sample-2" / "confidences.json").is_symlink()
    shutil.rmtree(folder / "seed-1_sample-1")
    (folder / "seed-1_sample-1").symlink_to(outside / "seed-1_sample-1")
    assert main(["unslim", str(folder), "--quiet"]) == 2
    assert digests(outside) == before
