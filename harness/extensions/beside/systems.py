"""How runs differ in what they were measured on and with: machine, file system, libraries, settings, traces, seed."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.analysis import formatting
from harness.extensions.beside.runs import CheckedRun, Settled
from harness.run.config import RunConfig

UNKNOWN = "not recorded"
_NONE = "none"

_SHOWN_APART = ("run_id", "profile_files", "options", "store", "settings", "measurements", "threads", "cache_bytes")


@dataclass(frozen=True)
class RunFact:
    """A fact of every run, in words: `label` names it, and `texts` has one text for each run."""

    label: str
    texts: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether the runs differ in this fact."""
        return len(set(self.texts)) > 1


def describe_runs(runs: Sequence[CheckedRun], formats: Sequence[Settled]) -> list[RunFact]:
    """Describe the machine, libraries and settings of each run, fact by fact.

    Parameters
    ----------
    runs : sequence of CheckedRun
        The runs.
    formats : sequence of (str, str)
        Formats that are compared: their settings are described too.
    """
    recorded = _facts([_machine(run.session) | _libraries(run.session) for run in runs], UNKNOWN)
    return [*recorded, *_facts([_asked(run.config) for run in runs], _NONE), *_settings(runs, formats)]


def _facts(each: Sequence[dict[str, str]], absent: str) -> Iterator[RunFact]:
    """Yield each fact that any run has, with `absent` as the text of runs without it."""
    for label in dict.fromkeys(label for found in each for label in found):
        yield RunFact(label, tuple(one.get(label, absent) for one in each))


def _machine(session: dict[str, Any]) -> dict[str, str]:
    memory, limit = session.get("memory_bytes"), session.get("memory_limit_bytes")
    lock, virtual = session.get("interpreter_lock"), session.get("virtual_machine")
    no_cores, no_memory = (_NONE if name in session else UNKNOWN for name in ("cores_limit", "memory_limit_bytes"))
    return {
        "Processor": _said(session.get("cpu")),
        "Cores": _said(session.get("cores_usable") or session.get("cores")),
        "Limit of cores": _said(session.get("cores_limit"), no_cores),
        "Memory": f"{memory / 2**30:.1f} GiB" if memory else UNKNOWN,
        "Limit of memory": f"{limit / 2**30:.1f} GiB" if limit else no_memory,
        "Virtual machine": UNKNOWN if virtual is None else "yes" if virtual else "no",
        "File system": _said(session.get("filesystem")),
        "Mount options": _said(session.get("mount_options")),
        "Architecture": _said(session.get("machine")),
        "System": " ".join(filter(None, (session.get("system"), session.get("kernel")))) or UNKNOWN,
        "Python": _said(session.get("python")) + (" without an interpreter lock" if lock is False else ""),
        "Harness": _said(session.get("harness")),
        "Commit": _said(session.get("commit"))[:12],
        "Started": _said(session.get("started")),
    }


def _libraries(session: dict[str, Any]) -> dict[str, str]:
    return {f"Library {name}": version or _NONE for name, version in (session.get("libraries") or {}).items()}


def _asked(config: RunConfig) -> dict[str, str]:
    """Return the settings of a run by label; a setting without a label here is shown by the name of its field."""
    said = {
        "Threads of a contender": _said(config.threads, "no bound"),
        "Decoded chunks kept": "as each library has it"
        if config.cache_bytes is None
        else formatting.size(config.cache_bytes),
        "Store": config.store.describe() if config.store is not None else "none: a folder",
        "Profile files": ", ".join(f"{one.name} ({_digest(one.text)})" for one in config.profile_files) or _NONE,
    }
    fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    fields |= {f"plan: {name}": value for name, value in dataclasses.asdict(config.options).items()}
    fields |= {f"setting {name}": value for name, value in config.settings.items()}
    fields |= {f"measurement {name}": value for name, value in config.measurements.items()}
    for name, value in fields.items():
        if name not in _SHOWN_APART:
            said[name.replace("_", " ").capitalize()] = _plain(value)
    return said


def _settings(runs: Sequence[CheckedRun], formats: Sequence[Settled]) -> list[RunFact]:
    """Return a fact for each format and profile that the runs stored differently: the first tensor that differs."""
    tables = [_ledger(run) for run in runs]
    found = []
    for name, profile in formats:
        of = [{key: text for key, text in table.items() if key[2:4] == (name, profile)} for table in tables]
        for key in of[0]:
            texts = tuple(one.get(key, UNKNOWN) for one in of)
            if all(key in one for one in of) and len(set(texts)) > 1:
                trace, n_res, _, _, reader, example = key
                where = ", ".join(filter(None, (trace, n_res and f"{n_res} residues", reader)))
                found.append(RunFact(f"Settings of {name} ({profile}), {example} of {where}", texts))
                break
    return found


def _ledger(run: CheckedRun) -> dict[tuple[str, ...], str]:
    """Return how each tensor is stored, by trace, length, format, profile, reader and tensor."""
    table = pd.read_csv(run.folder / "ledger.csv", dtype=str, keep_default_na=False)
    found = {}
    for row in table.to_dict("records"):
        key = tuple(str(row.get(name, "")) for name in ("trace", "n_res", "format", "profile", "read_by", "example"))
        parts = [str(row.get("codec") or UNKNOWN)]
        parts += [f"{part} {row[part]}" for part in ("chunks", "shards") if row.get(part)]
        found[key] = ", ".join(parts)
    return found


def _said(value: Any, none: str = UNKNOWN) -> str:
    return none if value in (None, "") else f"{value:g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> str:
    """Return a value of a configuration as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return (
            ", ".join(" ".join(map(str, one)) if isinstance(one, tuple | list) else str(one) for one in value) or _NONE
        )
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_plain(one)}" for name, one in value.items()) or _NONE
    return _said(value, _NONE)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
