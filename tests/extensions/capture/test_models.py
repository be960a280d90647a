"""Models of wheels: their modules are known in one version, and another is refused before it is imported."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest

from harness.extensions.capture import models, wheels


@pytest.mark.parametrize("kind", [models.openfold3, models.evoformer])
def test_another_version_of_a_wheel_is_named_with_the_one_that_is_known(kind, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr(wheels, "version", lambda name: "0.4.1")
    said = "is captured from openfold3 0.5.0, and 0.4.1 is installed: pip install --no-deps openfold3==0.5.0"
    assert kind.missing() == said


def test_the_known_version_and_its_local_builds_are_taken(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    for found in ("0.5.0", "0.5.0+local"):
        monkeypatch.setattr(wheels, "version", lambda name, found=found: found)
        assert models.openfold3.missing() == ""


def test_a_copy_that_states_no_version_is_refused(monkeypatch):
    def unknown(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr(wheels, "version", unknown)
    assert "and a copy without a version is installed" in models.openfold3.missing()
