"""The report says which archives were too large to be in the page cache."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.analysis.findings import find
from harness.analysis.report_options import find_options
from harness.report.page.limits import limits
from harness.report.page.sections import facts

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def of_memory(texts):
    return [text for text in texts if " of memory" in text]


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (0.5, ["memory cannot hold raw at 40 residues (", "raw at 40 residues ("]),
        (2, ["raw at 40 residues ("]),
        (100, []),
    ],
)
def test_what_warm_means_for_large_archives_follows_from_memory_and_sizes(tiny, tmp_path, part, said):
    folder = shutil.copytree(tiny, tmp_path / "run")
    path = folder / "environment.json"
    environment = json.loads(path.read_text())
    (subject,) = json.loads((folder / "archives.json").read_text())["subjects"]
    raw = next(archive["size_bytes"] for archive in subject["archives"] if archive["format"] == "raw")
    environment["sessions"][0]["memory_bytes"] = int(part * raw)
    path.write_text(json.dumps(environment))
    findings = find(folder, find_options(folder))
    sentences = of_memory(limits(findings, []))
    assert len(sentences) == len(said)
    assert all(words in sentence for words, sentence in zip(said, sentences, strict=True))
    # A limit of the process's control groups counts in place of the machine's memory.
    environment["sessions"][0].update(
        memory_bytes=1 << 40, memory_limit_bytes=int(part * raw), cores=64, cores_limit=1.5
    )
    path.write_text(json.dumps(environment))
    findings = find(folder, find_options(folder))
    assert of_memory(limits(findings, [])) == sentences
    assert "64 cores of which 1.5 may be used" in facts(findings) and "1024 GiB of which" in facts(findings)


@pytest.mark.parametrize(
    ("nodes", "said"),
    [(["a", "b"], True), (["a", "a"], False), (["a", ""], False), ([None, None], False)],
)
def test_a_run_of_several_nodes_says_so(tiny, tmp_path, nodes, said):
    folder = shutil.copytree(tiny, tmp_path / "run")
    path = folder / "environment.json"
    environment = json.loads(path.read_text())
    (session,) = environment["sessions"]
    environment["sessions"] = [session | ({} if node is None else {"node": node}) for node in nodes]
    path.write_text(json.dumps(environment))
    findings = find(folder, find_options(folder))
    told = limits(findings, [])
    of_nodes = [text for text in told if "were measured on 2 nodes with a shared filesystem; growth" in text]
    assert len(of_nodes) == said == (findings.nodes == 2)
    assert any(text.startswith("One machine, one local disk") for text in told) is not said
