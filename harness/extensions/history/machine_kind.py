"""What makes the times of two runs comparable: the kind of machine, with a name that can be read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NotRequired, TypedDict

from harness.documents import Figure, Positive

_CLASSES = tuple(gib for power in range(16) for gib in (2**power, 3 * 2**power))


@dataclass(frozen=True, kw_only=True)
class MachineKind:
    """What runs of one history share.

    Attributes
    ----------
    cpu : str
        Model of the processor.
    cores : int
        Cores that the run could use.
    memory_gib : int
        Class of the memory: the next of 1, 2, 3, 4, 6, 8, 12, 16, 24 ... GiB, as a system sees less than is built in.
    filesystem : str
        Where archives lay.
    kernel : str
        Name and major version of the system.
    python : str
        Implementation with major and minor version, and a ``t`` behind it where there is no interpreter lock.
    virtual : bool
        Whether a hypervisor was there.
    """

    cpu: str
    cores: int
    memory_gib: int
    filesystem: str
    kernel: str
    python: str
    virtual: bool

    @property
    def name(self) -> str:
        """A file name that says all of it, such as ``amd-epyc-2c-24g-ext4-linux6-cpython3.11-vm``."""
        parts = [self.cpu, f"{self.cores}c", f"{self.memory_gib}g", self.filesystem, self.kernel, self.python]
        text = "-".join([*parts, "vm" if self.virtual else "bare"])
        return re.sub(r"[^a-z0-9.]+", "-", text.lower().replace("(r)", "").replace("(tm)", "")).strip("-")


class Followed(TypedDict):
    """What a description of a machine must say for a history."""

    started: str
    commit: str | None
    cpu: str | None
    cores: Positive | None
    cores_usable: Positive | None
    machine: str
    memory_bytes: int | None
    filesystem: str
    system: str
    kernel: str
    implementation: str
    python: str
    interpreter_lock: NotRequired[bool | None]
    virtual_machine: bool | None
    load_average: Figure | None
    load_average_at_end: NotRequired[Figure | None]
    libraries: dict[str, str | None]


def kind_of(session: Followed) -> MachineKind:
    """Find the kind of machine that a session of a run was measured on.

    Parameters
    ----------
    session : Followed
        From ``environment.json``, as `harness.run.machine.describe` makes it.
    """
    memory = session.get("memory_limit_bytes") or session["memory_bytes"]
    free = "t" if session.get("interpreter_lock") is False else ""
    return MachineKind(
        cpu=session["cpu"] or session["machine"],
        cores=session["cores_usable"] or session["cores"] or 0,
        memory_gib=0 if memory is None else min(gib for gib in _CLASSES if gib << 30 >= memory),
        filesystem=session["filesystem"],
        kernel=f"{session['system']} {session['kernel'].partition('.')[0]}",
        python=f"{session['implementation']} {'.'.join(session['python'].split('.')[:2])}{free}",
        virtual=bool(session["virtual_machine"]),
    )


def difference(one: MachineKind, other: MachineKind) -> str:
    """Say what differs between two kinds, such as ``cores (2, then 4)``; empty when nothing does."""
    return ", ".join(
        f"{name.replace('_', ' ')} ({value}, then {getattr(other, name)})"
        for name, value in vars(one).items()
        if value != getattr(other, name)
    )
