"""Run every attack, each in a process of its own, and sum up; ``python -m benchmarks.attacks [NAME ...]``."""

from __future__ import annotations

import argparse
import pkgutil
import subprocess
import sys
from collections.abc import Sequence

import benchmarks.attacks
from harness.errors import unknown_name


def main(names: Sequence[str]) -> int:
    """Run attacks by the names of their modules, all of them where none is given; return the exit code."""
    known = [found.name for found in pkgutil.iter_modules(benchmarks.attacks.__path__) if found.name[0] != "_"]
    for name in names:
        if name not in known:
            raise SystemExit(str(unknown_name("attack", name, known)))
    through = []
    for name in names or known:
        print(f"== {name}", flush=True)
        run = f"import sys; from benchmarks.attacks.{name} import main; sys.exit(main())"
        if subprocess.run([sys.executable, "-c", run]).returncode:
            through.append(name)
    print(
        f"{len(names or known)} kinds of attacks: " + (f"{', '.join(through)} got through" if through else "all held")
    )
    return 1 if through else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Attack this project.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="modules of benchmarks/attacks (default: all)")
    sys.exit(main(parser.parse_args().names))
