"""Figures: the same bytes from the same cells, nothing drawn that was not measured, and nothing left unsaid."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.analysis.summary import COLUMNS
from harness.report.drawing import panels
from harness.report.drawing.figure import Page, arm_styles, drawing
from harness.report.drawing.plots import draw, not_shown, pages
from harness.report.drawing.ticks import across, upwards

FIGURES = ["full_read", "layer_read", "parallel_access", "random_access", "storage_size"]
ACCESSES = {
    "size": ["archive", "layer_filled_one", "layer_filled_both"],
    "full_read": ["all_tensors"],
    "layer_read": ["attention_layer", "head", "pair_layer"],
    "random_access": ["window_attention", "window_attention_load_once", "window_pair"],
    "parallel_access": ["window_attention", "window_pair"],
}


def cell(suite: str, access: str, trace: str, n_res: int | None, name: str, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row.update(run_id="t", suite=suite, access=access, trace=trace, n_res=n_res, format=name, executor="main")
    row.update(profile="" if name == "raw" else "tuned", workers=1, samples=3, status="ok", reason="")
    seconds = 0.001 * (n_res or 50) * (1 + len(name))
    if suite == "size":
        row.update(cache="", size_bytes=1000 * (n_res or 50), ratio_to_float32=2.0, ratio_to_native=1.0, files=1)
    else:
        row.update(cache="warm", median_seconds=seconds, ci_low=seconds * 0.9, ci_high=seconds * 1.2)
    if suite == "parallel_access":
        row.update(executor="threads", workers=2)
    return row | changes


def summary(traces: dict[str, list[int | None]], formats: tuple[str, ...] = ("raw", "npz", "zarr")) -> pd.DataFrame:
    places = [(s, a, t, n) for s, names in ACCESSES.items() for a in names for t, ns in traces.items() for n in ns]
    return pd.DataFrame([cell(*place, name) for place in places for name in formats], columns=COLUMNS)


BOTH = {"synthetic:layers=1": [16, 32], "vit-mnist": [None]}


@pytest.fixture
def intervals(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float, float]]:
    """Collect what is drawn as a point with an interval: its height, and the lower and upper end."""
    seen: list[tuple[float, float, float]] = []
    points: dict[tuple[int, float], float] = {}

    def line(axes: Axes, x: Any, y: Any, **style: Any) -> None:
        points.update({(id(axes), place): height for place, height in zip(x, y, strict=True)})

    def segments(axes: Axes, starts: Any, ends: Any, **style: Any) -> None:
        for (place, low), (other, high) in zip(starts, ends, strict=True):
            assert place == other
            if not np.isnan(low):
                seen.append((float(points[id(axes), place]), float(low), float(high)))

    monkeypatch.setattr(panels, "line", line)
    monkeypatch.setattr(panels, "segments", segments)
    return seen


@pytest.fixture
def captions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect what is written outside the panels."""
    seen: list[str] = []
    plain = Figure.text

    def text(self: Figure, x: float, y: float, s: str, **rest: Any) -> Any:
        seen.append(s.replace("\n", " "))
        return plain(self, x, y, s, **rest)

    monkeypatch.setattr(Figure, "text", text)
    return seen


@pytest.mark.slow
def test_five_figures_and_the_same_bytes_again(tmp_path: Path) -> None:
    frame = summary(BOTH)
    first = draw(frame, tmp_path / "a")
    frame.to_csv(tmp_path / "summary.csv", index=False)
    with matplotlib.rc_context({"font.size": 20, "svg.hashsalt": "another", "axes.grid": True}):
        second = draw(pd.read_csv(tmp_path / "summary.csv"), tmp_path / "b")
    assert sorted(p.name for p in first) == sorted(f"{n}.{kind}" for n in FIGURES for kind in ("png", "svg"))
    assert sorted(first) == sorted((tmp_path / "a").iterdir()), "nothing is left lying beside the figures"
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes(), one.name
    assert b"<dc:date>" not in next(p for p in first if p.suffix == ".svg").read_bytes()


def test_settings_of_matplotlib_are_left_alone(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    frame = summary({"synthetic": [16]})
    draw(frame[frame["suite"] == "full_read"], tmp_path)
    assert dict(matplotlib.rcParams) == before


def test_every_point_has_its_interval(tmp_path: Path, intervals: list[tuple[float, float, float]]) -> None:
    frame = summary({"synthetic": [16, 32]}, ("npz", "zarr"))
    draw(frame[frame["suite"] == "full_read"], tmp_path)
    drawn = sorted(height for height, *_ in intervals)
    assert drawn == sorted(frame[frame["suite"] == "full_read"]["median_seconds"].astype(float))
    for height, low, high in intervals:
        np.testing.assert_allclose([low, high], [height * 0.9, height * 1.2])


def test_failed_cell_has_no_point_and_is_named(
    tmp_path: Path, intervals: list[tuple[float, float, float]], captions: list[str]
) -> None:
    frame = summary({"synthetic": [16, 32]})
    frame = frame[frame["suite"] == "full_read"].reset_index(drop=True)
    bad = (frame["format"] == "zarr") & (frame["n_res"] == 32)
    # A time that should not be there: it is the status that counts.
    frame.loc[bad, ["status", "reason"]] = ["failed", "digest of $a and $b differs"]
    draw(frame, tmp_path)
    measured = [height for height, *_ in intervals]
    assert float(frame.loc[bad, "median_seconds"].iloc[0]) not in measured
    assert len(measured) == 3
    assert any("Not shown: zarr all tensors: failed (digest of $a and $b differs)." in c for c in captions)
    assert any("over 3 rounds (fewer than 10 rounds: no verdict)" in c for c in captions)


def test_not_shown_leaves_out_what_no_format_could_be_asked() -> None:
    lack: dict[str, Any] = {"status": "skipped", "cache": "", "reason": "the trace has no attention tensor"}
    absent = [cell("layer_read", "head", "af2", 76, name, **lack) for name in ("npz", "zarr")]
    others = [
        cell("layer_read", "head", "synthetic", 16, "npz", status="rejected", cache="cold", reason="resident: 0.4"),
        cell("layer_read", "head", "synthetic", 32, "npz", status="rejected", cache="cold", reason="resident: 0.4"),
        cell("layer_read", "head", "synthetic", 16, "zarr", cache="cold"),
        cell("layer_read", "head", "synthetic", 16, "a/a", status="skipped", reason="no control"),
        cell("layer_read", "head", "synthetic", 16, "safetensors", status="skipped", reason="not installed"),
        cell("layer_read", "head", "synthetic", 16, "zarr"),
    ]
    assert not_shown(pd.DataFrame(absent + others)) == [
        "npz head: rejected (resident: 0.4), 2 cells",
        "safetensors head: skipped (not installed)",
    ]


def test_parallel_access_says_which_workers_it_leaves_out(tmp_path: Path, captions: list[str]) -> None:
    kinds = [("threads", 1), ("threads", 2), ("threads", 8), ("threads-shared", 4), ("processes", 1), ("processes", 4)]
    cells = [
        cell("parallel_access", "window_pair", "synthetic", n_res, "zarr", executor=executor, workers=workers)
        for executor, workers in kinds
        for n_res in (16, 32)
    ]
    draw(pd.DataFrame(cells), tmp_path)
    assert any("Measured too, see summary.csv: threads 2, processes 1." in c for c in captions)


def test_what_was_not_asked_is_told_from_what_a_trace_lacks(tmp_path: Path, captions: list[str]) -> None:
    lack: dict[str, Any] = {"status": "skipped", "cache": "", "reason": "the trace has no pair tensor"}
    asked = [cell("parallel_access", "window_attention", name, 16, "zarr") for name in ("a", "b", "c")]
    pairs = [cell("parallel_access", "window_pair", "a", 16, "zarr")]
    draw(pd.DataFrame(asked + pairs), tmp_path)
    assert not any("No result" in c for c in captions) and any("Not asked" in c for c in captions)
    captions.clear()
    absent = [cell("parallel_access", "window_pair", name, 16, "zarr", **lack) for name in ("b", "c")]
    draw(pd.DataFrame(asked + pairs + absent), tmp_path)
    assert any("No result: the trace has no such tensor." in c for c in captions)
    assert not any("Not asked" in c for c in captions)


def test_sizes_say_what_a_second_name_costs(tmp_path: Path, captions: list[str]) -> None:
    frame = summary(BOTH, ("npz", "zarr"))
    both = (frame["access"] == "layer_filled_both") & (frame["format"] == "npz")
    frame.loc[both, "size_bytes"] = 1.9 * frame.loc[both, "size_bytes"].astype(float)
    draw(frame[frame["suite"] == "size"], tmp_path)
    assert any("More under both names: npz 90\N{NO-BREAK SPACE}%; zarr 0\N{NO-BREAK SPACE}%." in c for c in captions)


def test_suite_without_a_measured_cell_draws_nothing(tmp_path: Path) -> None:
    frame = summary({"synthetic": [16]})
    frame.loc[frame["suite"] == "layer_read", "status"] = "failed"
    frame = frame[~frame["suite"].isin(["size", "random_access", "parallel_access"])]
    assert [p.name for p in draw(frame, tmp_path)] == ["full_read.svg", "full_read.png"]
    assert draw(pd.DataFrame(columns=COLUMNS), tmp_path / "none") == []


def test_old_file_stays_when_drawing_breaks_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = summary({"synthetic": [16]})
    frame = frame[frame["suite"] == "full_read"]
    (tmp_path / "full_read.png").write_bytes(b"old")

    def savefig(self: Any, path: Path, **rest: Any) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(Figure, "savefig", savefig)
    with pytest.raises(OSError, match="no space"):
        draw(frame, tmp_path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("full_read.png", b"old")]


def test_picture_is_drawn_again_after_a_kill_before_it_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = summary({"synthetic": [16]})
    frame = frame[frame["suite"] == "full_read"]
    draw(frame, tmp_path)
    frame = frame.assign(median_seconds=2 * frame["median_seconds"], ci_high=2 * frame["ci_high"])
    savefig = Figure.savefig

    def killed(self: Any, path: Path, **rest: Any) -> None:
        if rest["format"] == "png":
            raise KeyboardInterrupt
        savefig(self, path, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(Figure, "savefig", killed)
        with pytest.raises(KeyboardInterrupt):
            draw(frame, tmp_path)
    fresh = draw(frame, tmp_path / "fresh")
    assert [path.read_bytes() for path in draw(frame, tmp_path)] == [path.read_bytes() for path in fresh]


def test_formats_and_profiles_look_different() -> None:
    names = ["npz", "hdf5", "zarr", "zarr-slim", "safetensors", "mine", "yours", "theirs"]
    found = arm_styles((name, profile) for name in names for profile in ("tuned", "seed"))
    tuned = [found[name, "tuned"] for name in names]
    for one, two in itertools.combinations(tuned, 2):
        assert one.colour != two.colour and one.marker != two.marker
    for name in names:
        one, two = found[name, "tuned"], found[name, "seed"]
        assert (one.colour, one.marker) == (two.colour, two.marker) and one.fill != two.fill
    assert found["zarr", "seed"].label == "zarr (seed)"
    assert arm_styles([("zarr", "tuned")])["zarr", "tuned"].label == "zarr"


def test_look_does_not_depend_on_the_order_of_cells() -> None:
    arms = [("b", "tuned"), ("zarr", "tuned"), ("a", "tuned")]
    assert arm_styles(arms) == arm_styles(reversed(arms))
    assert arm_styles(arms)["zarr", "tuned"].colour == arm_styles([("zarr", "tuned")])["zarr", "tuned"].colour


def test_no_line_joins_two_traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = summary({"a": [76], "b": [90], "synthetic": [16, 32], "synthetic:values=noise": [16, 32]}, ("zarr",))
    joined: list[tuple[Any, ...]] = []

    def line(axes: Axes, x: Any, y: Any, **style: Any) -> None:
        if style.get("linestyle") != "none":
            joined.append(tuple(float(v) for v in y))

    monkeypatch.setattr(panels, "line", line)
    full = frame[frame["suite"] == "full_read"]
    draw(full, tmp_path)
    expected = full[full["trace"] == "synthetic"]["median_seconds"].astype(float)
    assert joined == [tuple(expected)] * 2, "one line for each trace that has several lengths"


@pytest.mark.parametrize("count", [1, 4, 9, 10, 13])
def test_a_legend_stays_on_its_page(count):
    names = [f"format-{number} (tuned)" for number in range(count)]
    with drawing():
        page = Page(
            title="Times", caption=[], legend=[Line2D([], [], label=name) for name in names],
            heights=[2.0], below=[0.5], widths=[1.0], headings=[""],
        )  # fmt: skip
        (legend,) = page.figure.legends
        box = legend.get_window_extent(page.figure.canvas.get_renderer())
    assert box.x0 >= 0 and box.x1 <= page.figure.bbox.x1


def test_entries_of_a_legend_are_spread_over_its_lines() -> None:
    with drawing():
        page = Page(
            title="Times", caption=[], legend=[Line2D([], [], label=f"a part of a read {n}") for n in range(8)],
            heights=[2.0], below=[0.5], widths=[1.0], headings=[""],
        )  # fmt: skip
    (legend,) = page.figure.legends
    assert legend._ncols == 4, "and no line has one entry alone"


def test_a_panel_has_a_line_for_each_tick_and_a_text_for_each_label() -> None:
    with drawing():
        page = Page(title="", caption=[], legend=[], heights=[2.0], below=[0.5], widths=[1.0], headings=[""])
        axes = page.axes[0, 0]
        axes.set(xlim=(0, 4), ylim=(0, 10))
        across(axes, [1, 3], ["one", "$three$"])
        upwards(axes, [2, 5, 8], ["two", "five", "eight"], grid=True, title="time")
        page.figure.draw_without_rendering()
        boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    inside = axes.get_window_extent()
    centre = {
        name: axes.transData.inverted().transform(((b.x0 + b.x1) / 2, (b.y0 + b.y1) / 2)) for name, b in boxes.items()
    }
    assert [centre[name][0] for name in ("one", "$three$")] == pytest.approx([1, 3], abs=0.01)
    assert [centre[name][1] for name in ("two", "five", "eight")] == pytest.approx([2, 5, 8], abs=0.2)
    assert all(boxes[name].y1 < inside.y0 for name in ("one", "$three$"))
    assert boxes["time"].x1 < min(boxes[name].x0 for name in ("two", "five", "eight")) < inside.x0
    grid = [line for line in axes.lines if len(line.get_xdata()) == 8]
    assert len(grid) == 1 and np.isnan(grid[0].get_ydata()[2]), "each of the three breaks before the next"


def test_no_text_of_a_drawing_is_a_formula() -> None:
    with drawing():
        axes = Figure().add_subplot()
        made = [axes.text(0, 0, "$x$"), axes.set_title("$y$"), axes.legend([Line2D([], [])], ["$z$"]).texts[0]]
    assert [text.get_parse_math() for text in made] == [False, False, False]


def test_a_long_title_is_folded_and_a_dollar_sign_in_it_starts_no_formula() -> None:
    with drawing():
        page = Page(
            title="$a against " + "b" * 200, caption=[], legend=[], heights=[1.0], below=[0.3], widths=[1.0],
            headings=[""],
        )  # fmt: skip
        title, *_ = page.figure.texts
        box = title.get_window_extent(page.figure.canvas.get_renderer())
    assert title.get_text().replace("\n", "").startswith("$a against bbb") and box.x1 <= page.figure.bbox.x1


@pytest.mark.parametrize(
    ("suite", "joined", "apart"),
    [("layer_read", True, False), ("layer_read", False, True), ("size", True, False), ("size", False, False)],
)
def test_lines_join_lengths_unless_different_nodes_took_their_times(monkeypatch, suite, joined, apart):
    styles: list[object] = []
    monkeypatch.setattr(panels, "line", lambda axes, x, y, **style: styles.append(style.get("linestyle")))
    cells = summary({"synthetic:layers=1": [16, 32]})
    (page,) = [page for _, page in pages(cells[cells["suite"] == suite], joined=joined)]
    assert ("none" in styles) is apart
    assert any("Lengths were measured on different nodes" in text for text in page.caption) is apart


@pytest.mark.slow
def test_no_axis_title_is_taller_than_its_panel() -> None:
    summary = pd.read_csv(Path(__file__).parents[2] / "results" / "reference" / "summary.csv")
    titles = 0
    for name, page in pages(summary):
        renderer = page.figure.canvas.get_renderer()
        for axes in page.axes.values():
            for text in (text for text in axes.texts if text.get_rotation() == 90 and text.get_fontsize() == 8):
                height = text.get_window_extent(renderer).height
                titles += 1
                assert height <= 1.02 * axes.get_window_extent().height, (name, text.get_text())
    assert titles > 10
