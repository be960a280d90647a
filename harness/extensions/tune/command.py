"""The command ``tune``: search the settings of one format for one use."""

from __future__ import annotations

import argparse
import datetime
import re
import shlex
from pathlib import Path
from typing import Any

import pandas as pd

from harness.analysis import formatting
from harness.analysis.choice.mix import Mix, parse_mix, presets
from harness.capacity import processors
from harness.cli import terminal
from harness.cli.convert import source_text
from harness.cli.options import add_max_inflated, add_output, integer, integers, typed
from harness.cli.parser import examples
from harness.cli.source_options import add_taking
from harness.errors import UsageError, unknown_name
from harness.extensions.tune.front import draw_front
from harness.extensions.tune.question import TuneConfig, questions
from harness.extensions.tune.race import search
from harness.extensions.tune.result import Found, find, profile, sentence
from harness.files import write_text
from harness.formats.base import PROFILES, Format, load_format
from harness.formats.settings import Value
from harness.report.folders import held
from harness.report.write import write_table
from harness.sampling.interrupt import exit_code
from harness.trace.sources import find_source, open_trace

_DEFAULT_MIX = "interactive-viewer"
_MEGABYTE = 1 << 20


def add_tune(parser: argparse.ArgumentParser) -> None:
    """Search chunks and codecs of a format for one use, and write a profile file."""
    parser.description = (
        "Race settings of one format on a sample of a trace: samples.csv, candidates.csv, the Pareto front "
        "as front.png, and a profile file for 'harness run --profile-file'."
    )
    parser.epilog = examples(
        "tune trace.h5 --format hdf5",
        "tune trace.h5 --format hdf5 --mix interactive-viewer --rounds 3",
    )
    parser.add_argument("source", metavar="SRC", help="an archive, or a trace as NAME:key=value,...")
    add = parser.add_argument_group("use").add_argument
    add("--format", type=typed("formats"), required=True, metavar="FORMAT", help="the format to tune")
    mixes = f"the use: {', '.join(presets())}, a TOML file, or key=value,..."
    add("--mix", default=_DEFAULT_MIX, metavar="MIX", help=mixes)
    add("--n-res", metavar="N", help="sequence length (residues) of a synthetic trace (default: its own)")
    add = parser.add_argument_group("measurement").add_argument
    add(
        "--reader",
        metavar="NAME",
        help="one of the format's readers, as 'harness list' names them (default: its stock reader)",
    )
    add(
        "--threads",
        type=integer("--threads"),
        metavar="N",
        help="processors that a candidate may use, and threads of its library (default: all that this process may use)",
    )
    add("--rounds", default="10", metavar="N", help="samples of the best candidates")
    add("--candidates", default="32", metavar="N", help="candidates for each role of tensor")
    add("--sample", default="128", metavar="MB", help="size of the part of a tensor that is measured")
    add("--seed", default="0", metavar="N", help="seed of candidates, windows and order")
    add("--timeout", default="600", metavar="SECONDS", help="time limit of a sample")
    add = parser.add_argument_group("output").add_argument
    add("--name", metavar="NAME", help="name of the profile (default: that of the mix)")
    add("--out", type=Path, metavar="DIR", help="the search's folder (default: results/<time>-tune-<format>)")
    add_taking(parser)
    add_max_inflated(parser)
    add_output(parser, quiet="errors", verbose=True, json=True)
    parser.set_defaults(command=_tune)


def _tune(arguments: argparse.Namespace) -> int:
    backend = load_format(arguments.format)
    reader = _reader(backend, arguments.reader)
    mix = parse_mix(arguments.mix)
    name = _name(arguments.name or re.sub(r"[^A-Za-z0-9._-]+", "-", mix.name))
    megabytes = _number(arguments.sample, "--sample")
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    folder: Path = arguments.out or Path("results") / f"{stamp}-tune-{backend.name}"
    text = source_text(arguments.source, arguments)
    requested = _number(arguments.n_res, "--n-res") if arguments.n_res is not None else None
    if requested is not None and not find_source(text)[0].sized:
        raise UsageError(f"--n-res is for traces that are made in any length, which {arguments.source!r} is not.")
    trace = open_trace(text, requested)
    config = TuneConfig(
        run_id=folder.resolve().name, backend=arguments.format, source=text, trace=trace.label, requested=requested,
        n_res=trace.manifest.length, rounds=_number(arguments.rounds, "--rounds"),
        most=_number(arguments.candidates, "--candidates"), seed=_number(arguments.seed, "--seed", least=0),
        timeout=_number(arguments.timeout, "--timeout"), reader=reader, threads=arguments.threads,
    )  # fmt: skip
    if arguments.threads is not None:
        processors(arguments.threads)  # raises for more than exist, before anything is created
    asked, notes = questions(backend, trace.manifest, mix, megabytes * _MEGABYTE, config.seed)
    with held(folder, new=True):
        with terminal.progress(quiet=arguments.quiet, verbose=arguments.verbose) as progress:
            try:
                races = search(config, asked, folder, progress)
            except KeyboardInterrupt as error:
                rows = folder / "samples.csv"
                terminal.complain(f"Interrupted; the samples taken so far are in {rows}, nothing is chosen.")
                return exit_code(error)
        found = [find(race) for race in races]
        sampled = "; ".join(question.shown_sample for question in asked)
        origin = _origin(arguments, config, mix, sampled)
        candidates = pd.concat([one.table for one in found], ignore_index=True)
        write_table(candidates, folder / "candidates.csv")
        length = f" at {config.n_res} residues" if config.n_res else ""
        about = f"Trace: {formatting.pretty_trace(config.trace)}{length}. Mix: {mix.name}."
        notes = [_read_by(backend, reader), *notes]
        shown = [about, *notes, f"Sample: {sampled}."]
        draw_front(candidates, folder, title=f"Settings of {config.backend}: size and times", notes=shown)
        chosen = folder / f"{name}.toml"
        write_text(chosen, profile(found, name, arguments.format, origin))
    if arguments.json:
        files = {"profile": chosen, "candidates": folder / "candidates.csv", "samples": folder / "samples.csv"}
        roles = [_document(one) for one in found]
        paths = {name: str(path) for name, path in files.items()}
        terminal.result({**paths, "reader": reader, "roles": roles, "notes": notes})
    elif not arguments.quiet:
        for one in found:
            _print_table(one)
            terminal.say(sentence(one))
        for note in notes:
            terminal.say(note)
        terminal.say(f"Candidates: {folder / 'candidates.csv'}   samples: {folder / 'samples.csv'}")
        terminal.say(f"Pareto front: {folder / 'front.png'}")
        terminal.say(f"Profile: {chosen}   use it: harness run --profile-file {chosen}")
    return 0


def _origin(arguments: argparse.Namespace, config: TuneConfig, mix: Mix, sampled: str) -> dict[str, Value]:
    """Return the origin of the values for the profile file: the command, without options that do not affect results."""
    names = ("mix", "n_res", "threads", "rounds", "candidates", "sample", "seed")
    given = {"reader": config.reader} | {name: getattr(arguments, name) for name in names}
    parts = [
        f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in given.items() if value is not None
    ]
    command = " ".join(["harness tune", shlex.quote(arguments.source), f"--format {arguments.format}", *parts])
    origin: dict[str, Value] = {"command": command, "trace": config.trace, "mix": mix.to_flags(), "sample": sampled}
    return origin | ({"n_res": config.n_res} if config.n_res is not None else {})


def _document(found: Found) -> dict[str, Any]:
    """Return the choice for a role as plain values."""
    choice = found.choice
    return {
        "role": found.race.question.role.value,
        "chosen": choice.chosen.name,
        "settings": dict(choice.chosen.values),
        "best": choice.best.name,
        "tied": [candidate.name for candidate in choice.tied],
        **choice.ratio.columns("ratio"),
        "sentence": sentence(found),
    }


def _print_table(found: Found) -> None:
    """Print the candidates that were measured in all rounds, cheapest first."""
    last = found.table[(found.table["rounds"] == found.race.rounds) & (found.table["status"] == "ok")]
    columns = ("candidate", "size", "read (95 % interval)", "write", "cost against present", "front", "")
    shown = terminal.table(f"{found.race.question.role.value}: {found.race.question.shown_sample}", *columns)
    for row in last.to_dict("records"):
        shown.add_row(
            row["candidate"],
            formatting.size(row["size_bytes"]),
            "{} ({} to {})".format(*(formatting.duration(row[name]) for name in ("wait", "wait_low", "wait_high"))),
            formatting.duration(row["write"]),
            f"x{row['ratio']:.2f} ({row['ratio_low']:.2f}-{row['ratio_high']:.2f})",
            "yes" if row["front"] else "",
            row["choice"],
        )
    terminal.console().print(shown, markup=False)


def _reader(backend: Format, asked: str | None) -> str:
    """Return the reader for candidates: by default the stock reader of the library, never one of this project."""
    name = asked or backend.stock
    if name not in backend.readers:
        raise unknown_name(f"reader of {backend.name}", name, backend.readers)
    if missing := backend.readers[name].missing():
        raise UsageError(f"The reader {name!r} of {backend.name} {missing}.")
    return name


def _read_by(backend: Format, reader: str) -> str:
    """Return a sentence that names the reader of candidates and its kind."""
    stands = ", the stock reader" if reader == backend.stock else ""
    own = ", a decoder of this project" if backend.readers[reader].own else ""
    return f"Read by {reader}{own or stands}: another reader may prefer other settings."


def _name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or name in PROFILES:
        raise UsageError(
            f"A profile cannot be named {name!r}: give --name letters, digits, '.', '_' and '-', "
            f"and none of {', '.join(PROFILES)}."
        )
    return name


def _number(text: str, option: str, *, least: int = 1) -> int:
    (value,) = integers(text, option, single=True, least=least)
    return value
