"""The scripts started as a user starts them, and the commands that they replace."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gate_model.cli.experiment import app

SCRIPTS = Path(__file__).parents[3] / "examples" / "paper"
COMMANDS = {
    "table-1": "table_1.py",
    "table-2": "table_2.py",
    "figure-3": "figure_3.py",
    "discussion": "discussion.py",
    "stability": "stability.py",
    "removal": "removal.py",
}


def started(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / script), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, encoding="utf-8", cwd=cwd)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_moved_says_what_to_run_instead_and_does_nothing(command: str, tmp_path: Path) -> None:
    out = tmp_path / "a folder"
    done = CliRunner().invoke(app, [command, "runs/x", "--out", str(out), "--seeds", "2"])
    assert done.exit_code == 2
    assert done.stdout == ""
    new = f"python examples/paper/{COMMANDS[command]}"
    assert done.stderr.splitlines()[-1] == f"{new} runs/x --out '{out}' --seeds 2"
    assert (SCRIPTS / COMMANDS[command]).exists()
    assert not out.exists()


def test_the_commands_that_moved_are_not_in_the_help() -> None:
    told = CliRunner().invoke(app, ["--help"]).stdout
    assert "figure-1" in told
    assert not [command for command in COMMANDS if command in told]


def test_a_script_runs_in_any_folder_and_an_error_is_one_message(tmp_path: Path) -> None:
    helped = started("removal.py", "--help", cwd=tmp_path)
    assert (helped.returncode, helped.stderr) == (0, "")
    assert all(option in helped.stdout for option in ("--seeds", "--population", "--workers", "--dask", "--resume"))
    done = started("table_1.py", "nowhere", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "config.json is missing" in done.stderr
    assert not (tmp_path / "out").exists()
