"""The scheduler is an option of the executor and a field of run.json, and has to be typed again to continue a run."""

from __future__ import annotations

import dataclasses

import pytest

from harness.cli import main
from harness.cli.readers import resume_command
from harness.documents import DocumentError
from harness.errors import UsageError
from harness.evidence.bundle import Bundle
from harness.evidence.rerun import rerun_config
from harness.run.config import RunConfig
from harness.sampling.executor import load_executor
from tests.conftest import TINY

ADDRESS = "tcp://127.0.0.1:9"


@pytest.fixture
def config() -> RunConfig:
    options = dataclasses.replace(TINY.options, workers=(("dask", 2),))
    return dataclasses.replace(TINY, suites=("parallel_access",), options=options, settings={"scheduler": ADDRESS})


def test_a_configuration_holds_the_scheduler_where_it_always_was(config, tmp_path):
    path = tmp_path / "run.json"
    config.save(path)
    assert f'\n "scheduler": "{ADDRESS}"' in path.read_text() and RunConfig.read(path) == config
    path.write_text(path.read_text().replace(f'"{ADDRESS}"', "5"))
    with pytest.raises(DocumentError, match=r"at \$\.scheduler: expected"):
        RunConfig.read(path)


def test_the_command_that_continues_a_run_works(config, tmp_path, capsys):
    config.save(tmp_path / "run.json")
    command = resume_command(tmp_path, config)
    assert command == f"harness run --resume --out {tmp_path} --scheduler {ADDRESS}"
    for words, message in (
        (command.split()[1:-2], f"repeat --scheduler {ADDRESS}"),
        ([*command.split()[1:-1], "tcp://elsewhere:1"], f"repeat --scheduler {ADDRESS}"),
        (command.split()[1:], f"no Dask scheduler at {ADDRESS}"),
    ):
        assert main(words) == 2
        assert message in capsys.readouterr().err


def test_a_bundles_scheduler_is_used_only_where_that_is_allowed(config, tmp_path):
    config.save(tmp_path / "run.json")
    bundle = Bundle({}, {"run.json": (tmp_path / "run.json").read_bytes()}, "")
    with pytest.raises(UsageError, match=f"the scheduler '{ADDRESS}' here.*add --allow-outside"):
        rerun_config(bundle, "again")
    assert rerun_config(bundle, "again", outside=True).settings == config.settings


def test_what_the_core_is_told_of_dask():
    executor = load_executor("dask")
    assert executor.here({}) and not executor.here({"scheduler": ADDRESS})  # whose workers may be other machines'
    assert not executor.counted and not executor.unasked and not executor.stores
    assert executor.rejects and executor.aside == 128 << 10
