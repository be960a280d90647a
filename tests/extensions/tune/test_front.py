"""The picture of a search follows from its table alone."""

from __future__ import annotations

import pandas as pd
import pytest

from harness.extensions.tune.front import draw_front


@pytest.fixture
def table() -> pd.DataFrame:
    rows = [
        {
            "role": role, "candidate": f"edge={edge}", "status": "ok", "front": edge < 64, "size_bytes": 10**6 * edge,
            "choice": {16: "present tied", 32: "chosen best"}.get(edge, ""), "write": 0.1 * edge,
            "wait": 1 / edge, "wait_low": 0.9 / edge, "wait_high": 1.2 / edge,
        }
        for role in ("pair", "attention")
        for edge in (16, 32, 64)
    ]  # fmt: skip
    return pd.DataFrame([*rows, {"role": "pair", "candidate": "edge=8", "status": "failed", "choice": ""}])


def draw(table, folder):
    folder.mkdir()
    vector, picture = draw_front(table, folder, title="A search", notes=["Mix: $5 a day."])
    assert picture.stat().st_size > 1000
    return vector.read_bytes()


def test_equal_tables_give_equal_bytes_and_another_choice_another_picture(table, tmp_path):
    first = draw(table, tmp_path / "first")
    assert draw(table.copy(), tmp_path / "second") == first
    table.loc[0, "choice"] = "present chosen tied"
    assert draw(table, tmp_path / "third") != first


def test_what_failed_has_no_point(table, tmp_path):
    assert draw(table, tmp_path / "all") == draw(table[table["status"] == "ok"], tmp_path / "ok")


def test_a_role_that_is_never_read_and_one_that_has_one_candidate_are_drawn(table, tmp_path):
    table.loc[table["role"] == "pair", ["wait", "wait_low", "wait_high"]] = 0.0
    draw(table.drop(index=[4, 5]), tmp_path / "drawn")
