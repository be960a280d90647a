"""Definition of the benchmarks: one small trace, every registered suite and format, and the version of these."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import Any

from harness import registry
from harness.records import RAW
from harness.run.config import RunConfig
from harness.run.defaults import all_suites
from harness.run.plan import describe_access
from harness.run.planning import open_subjects
from harness.run.presets import PRESETS
from harness.run.subject import Arm, Subject
from harness.suite import load_suite
from harness.trace.sources import open_trace
from harness.trace.stream import digest_blocks
from harness.workload import Access, ReadAccess

RULES = 1
"""Version of the rules by which samples become asv's figures; a change starts new series."""


@cache
def config() -> RunConfig:
    """Return what ``harness run --preset quick`` measures, at the first of its lengths and with every format."""
    formats = tuple(registry.names("formats"))
    preset = {**PRESETS["quick"], "sizes": PRESETS["quick"]["sizes"][:1]}
    return RunConfig(run_id="tracking", preset="quick", formats=formats, suites=all_suites(), **preset)


@cache
def subject() -> Subject:
    """Return the trace with the plans of all suites."""
    (found,) = open_subjects(config())
    return found


def about(suite: str) -> str:
    """Return the description of a suite, in one line."""
    return load_suite(suite).description


def arms() -> dict[str, Arm]:
    """Return the measured arms by the names of their formats, including the raw ceiling."""
    registry.listing("formats")  # libraries are imported now: by asv's fork server once, and never within a sample
    (profile,) = config().profiles
    return {name: Arm(name, name, "" if name == RAW else profile) for name in config().formats}


def cases(suite: str, kind: type[Access]) -> dict[str, Access]:
    """Return the accesses of a suite that are of one kind, by the name that asv's pages show."""
    return {case(access): access for name, access in subject().plans if name == suite and isinstance(access, kind)}


def case(access: Access) -> str:
    """Return the name of an access with its executor and workers, such as ``window_attention, threads x 2``."""
    if isinstance(access, ReadAccess) and access.executor != "main":
        return f"{access.name}, {access.executor} x {access.workers}"
    return access.name


def version(suite: str, kind: type[Access]) -> str:
    """Return a digest of what determines figures besides the code under test: accesses, trace, profile, cache state.

    Parameters
    ----------
    suite, kind
        As for `cases`.

    Returns
    -------
    str
        16 hexadecimal digits. The settings of a format in a profile are code under test, and so is how it stores the
        values. Of the trace, names, shapes, dtypes and bytes count, whatever generates them.
    """
    definition: dict[str, Any] = {
        "rules": RULES,
        "accesses": [
            describe_access(name, access)
            for name, access in subject().plans
            if name == suite and isinstance(access, kind)
        ],
        "trace": data(),
        "profiles": config().profiles,
        "caches": config().caches,
    }
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:16]


@cache
def data() -> dict[str, Any]:
    """Describe the trace by the shape, dtype and digest of each tensor."""
    trace = open_trace(subject().text, subject().requested)
    found = {}
    for spec in trace.manifest.tensors:
        found[spec.path] = [list(spec.shape), spec.dtype, digest_blocks(trace.blocks(spec.path))]
    return found
