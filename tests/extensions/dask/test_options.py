"""The scheduler is an option of the executor and a field of run.json, and has to be typed again to continue a run."""

from __future__ import annotations

import dataclasses

import pytest

from harness.cli import main
from harness.cli.readers import resume_command
from harness.documents import DocumentError
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
    with pytest.raises(DocumentError, match=r"at \$\.scheduler expected"):
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


def test_workers_of_another_machine_share_no_core_of_this_one():
    executor = load_executor("dask")
    assert executor.here({}) and not executor.here({"scheduler": ADDRESS})
