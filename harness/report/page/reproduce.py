"""How to make a run again, how to check it, how to cite it."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path
from typing import Any

import harness
from harness.analysis.findings import Findings
from harness.run.config import PRESETS, RunConfig
from harness.run.measurement import installed


def command_of(config: RunConfig, out: str) -> str:
    """Return the command line that asks for the same run.

    Parameters
    ----------
    config : RunConfig
        Of a run.
    out : str
        The folder for it.
    """
    preset = PRESETS.get(config.preset, PRESETS["standard"])
    parts = ["harness run", f"--preset {config.preset if config.preset in PRESETS else 'standard'}"]
    parts += [option for each in installed() for option in each.options(config)]
    if config.traces != tuple(preset["traces"]) or config.measurements:
        parts += [f"--trace {shlex.quote(trace)}" for trace in config.traces]
    for name in ("sizes", "profiles"):
        if getattr(config, name) != tuple(preset[name]):
            option = {"sizes": "sizes", "profiles": "profile"}[name]
            parts.append(f"--{option} {','.join(str(value) for value in getattr(config, name))}")
    parts += [f"--profile-file {file.name}.toml" for file in config.profile_files]
    if config.caches != tuple(preset["caches"]):
        parts.append(f"--cache {'both' if len(config.caches) == 2 else config.caches[0]}")
    if config.rounds != preset["rounds"]:
        parts.append(f"--rounds {config.rounds}")
    if config.seed:
        parts.append(f"--seed {config.seed}")
    if config.baseline != preset.get("baseline", RunConfig.baseline):
        parts.append(f"--baseline {shlex.quote(config.baseline)}")
    if config.trace_bytes is not None:
        parts.append(f"--trace-bytes {config.trace_bytes}")
    for option, names in (("formats", config.formats), ("suites", config.suites)):
        parts.append(f"--{option} {shlex.quote(','.join(name for name in names if ':' not in name))}")
    return " ".join([*parts, *plugins_of(config), f"--out {out}"])


def plugins_of(config: RunConfig) -> list[str]:
    """Return the options that let a command import what no installed package registers."""
    own = (("backend", config.formats), ("suite", config.suites))
    return [f"--{option} {shlex.quote(name)}" for option, names in own for name in names if ":" in name]


def reproduce(findings: Findings) -> dict[str, Any]:
    """Say how to make the run again, and how to check it."""
    session, name = findings.session, shlex.quote(findings.config.run_id)
    commit = str(session.get("commit") or "").removesuffix("+changes")
    text = [
        "Every published figure follows from samples.csv by code that is here. To check that on any machine, without "
        "the data: pack the run, and let the bundle be checked. With --rerun it is measured again where you are, and "
        "each verdict is said to hold or not.",
    ]
    if str(session.get("commit") or "").endswith("+changes"):
        text.append("The checkout it was measured with had changes that no commit holds.")
    if findings.config.profile_files:
        names = ", ".join(f"{file.name}.toml" for file in findings.config.profile_files)
        text.append(f"The text of each profile file ({names}) is in run.json, under profile_files.")
    run, bundle = (" ".join([f, *plugins_of(findings.config)]) for f in (f"results/{name}", f"{name}.bundle.zip"))
    commands = [
        *([f"git checkout {shlex.quote(commit)}"] if commit else []),
        "make bench    # sets up .venv and makes a run of the standard preset",
        f".venv/bin/{command_of(findings.config, f'results/{name}')}",
        f".venv/bin/harness bundle {run}",
        f".venv/bin/harness check {bundle}",
        f".venv/bin/harness check {bundle} --rerun",
    ]
    packages = ", ".join(
        f"{k} {v}" for k, v in (session.get("packages") or session.get("libraries") or {}).items() if v
    )
    free = " without its interpreter lock" if session.get("interpreter_lock") is False else ""
    python = f"Python {session['python']}{free}, " if session.get("python") else ""
    return {"text": text, "commands": commands, "packages": f"{python}{packages or 'not recorded'}."}


def cite(findings: Findings, folder: Path) -> str:
    """Name the run so that another can be told from it."""
    session = findings.session
    digest = hashlib.sha256((folder / "samples.csv").read_bytes()).hexdigest()
    commit = f", commit {session['commit']}" if session.get("commit") else ""
    date = f", {session['started'][:10]}" if session.get("started") else ""
    return (
        f"trace-format-harness {session.get('harness') or harness.__version__}{commit}, run {findings.config.run_id}"
        f"{date}, samples.csv with SHA-256 {digest}."
    )
