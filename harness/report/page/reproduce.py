"""Report sections on how to repeat a run, how to check it, and how to cite it."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from pathlib import Path

import harness
from harness.analysis.findings import Findings
from harness.records import LUKEWARM
from harness.report.page.sentences import sentences
from harness.report.section import Block, Part, Table, Text
from harness.run.config import RunConfig
from harness.run.measurement import installed
from harness.run.newest_releases import Newest, is_older
from harness.run.presets import PRESETS

_OPTIONS = {
    "sizes": "sizes", "profiles": "profile", "profile_files": "profile-file", "caches": "cache", "rounds": "rounds",
    "seed": "seed", "baseline": "baseline", "trace_bytes": "trace-bytes", "readers": "readers", "threads": "threads",
    "cache_bytes": "decoded-cache",
}  # fmt: skip
"""Command-line option of each field of a configuration."""


def command_of(config: RunConfig, out: str) -> str:
    """Return the command line that repeats a run into the folder `out`."""
    preset = config.preset if config.preset in PRESETS else "standard"
    usual = {name: getattr(RunConfig, name, ()) for name in _OPTIONS} | PRESETS[preset]
    parts = ["harness run", f"--preset {preset}"]
    parts += [option for each in installed() for option in each.options(config)]
    if config.traces != usual["traces"] or config.measurements:
        parts += [f"--trace {shlex.quote(trace)}" for trace in config.traces]
    for name, option in _OPTIONS.items():
        value = getattr(config, name)
        if name == "profile_files":
            parts += [f"--{option} {file.name}.toml" for file in value]
        elif value != usual[name] and value not in ((), None):
            value = value if isinstance(value, tuple) else (value,)
            states = tuple("cold" if state == LUKEWARM else state for state in value)
            text = "both" if name == "caches" and len(value) == 2 else ",".join(map(str, states))
            parts.append(f"--{option} {shlex.quote(text)}")
    for option, names in (("formats", config.formats), ("suites", config.suites)):
        parts.append(f"--{option} {shlex.quote(','.join(name for name in names if ':' not in name))}")
    return " ".join([*parts, *_plugins(config), f"--out {out}"])


def _plugins(config: RunConfig) -> list[str]:
    """Return the options for backends and suites that no installed package registers."""
    own = (("backend", config.formats), ("suite", config.suites))
    return [f"--{option} {shlex.quote(name)}" for option, names in own for name in names if ":" in name]


def reproduce(findings: Findings) -> list[Block]:
    """Return the blocks on how to repeat the run, and how to check it."""
    session, config, name = findings.session, findings.config, shlex.quote(findings.config.run_id)
    recorded = str(session.get("commit") or "")
    commit = recorded.removesuffix("+changes")
    profiles = [f"{file.name}.toml" for file in config.profile_files]
    said = sentences("reproduce", {"changes": commit != recorded, "profiles": profiles})
    run, bundle = (" ".join([file, *_plugins(config)]) for file in (f"results/{name}", f"{name}.bundle.zip"))
    commands = [
        *([f"git checkout {shlex.quote(commit)}"] if commit else []),
        "make bench    # sets up .venv and makes a run of the standard preset",
        f".venv/bin/{command_of(config, f'results/{name}')}",
        f".venv/bin/harness bundle {run}",
        f".venv/bin/harness check {bundle}",
        f".venv/bin/harness check {bundle} --rerun",
    ]
    libraries = session.get("packages") or session.get("libraries") or {}
    packages = ", ".join(f"{package} {version}" for package, version in libraries.items() if version)
    free = " without its interpreter lock" if session.get("interpreter_lock") is False else ""
    python = f"Python {session['python']}{free}, " if session.get("python") else ""
    shown = {"commands": commands, "packages": f"{python}{packages or 'not recorded'}."}
    return [*map(Text, said), Part("Commands", shown), *_newest(session.get("newest"), libraries)]


def _newest(known: Newest | None, here: Mapping[str, str | None]) -> list[Block]:
    """Compare the libraries of a run with the newest releases known at that time; empty for runs without these."""
    if not known:
        return []
    rows: list[list[str]] = []
    older: list[str] = []
    for name, release in known["libraries"].items():
        version, day = here.get(name), release["released"]
        rows.append([name, version or "not installed", release["version"], day, f"{release['python']} or newer"])
        if version and is_older(version, release["version"]):
            older.append(f"{name} {version} ({release['version']} of {day}, for Python {release['python']} or newer)")
    text = f"Older than the newest release known on {known['as_of']}: {', '.join(older) or 'none of these libraries'}."
    table = Table(
        label="Newest releases",
        caption=f"Libraries of this run and their newest releases, as known on {known['as_of']}",
        columns=["library", "here", "newest", "released", "Python"],
        rows=rows,
    )
    return [Text(text), table]


def cite(findings: Findings, folder: Path) -> list[Block]:
    """Return the text that identifies the run uniquely, for citations."""
    session = findings.session
    digest = hashlib.sha256((folder / "samples.csv").read_bytes()).hexdigest()
    commit = f", commit {session['commit']}" if session.get("commit") else ""
    date = f", {session['started'][:10]}" if session.get("started") else ""
    version = session.get("harness") or harness.__version__
    run = f"run {findings.config.run_id}{date}, samples.csv with SHA-256 {digest}"
    return [Text(f"trace-format-harness {version}{commit}, {run}.")]
