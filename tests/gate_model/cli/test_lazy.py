"""The help of a command, and `import gate_model`, load nothing heavy; every public name is there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import gate_model
from gate_model.cli._lazy import lazy_group
from gate_model.cli.app import COMMANDS, app

HEAVY = ("torch", "pandas", "rdkit", "optuna", "plotly", "scipy", "numpy")
AFTER = f"import json, sys; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
HELP = """
import sys
from gate_model.cli.app import main
sys.argv = ["gate", *{arguments}, "--help"]
try:
    main()
except SystemExit as end:
    assert end.code == 0
"""


def loaded(code: str) -> list[str]:
    """The heavy packages that a fresh interpreter has imported after `code`."""
    done = subprocess.run([sys.executable, "-c", f"{code}\n{AFTER}"], check=True, capture_output=True, text=True)
    names: list[str] = json.loads(done.stdout.splitlines()[-1])
    return names


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("predict",),
        ("learn",),
        ("grid",),
        ("tpe",),
        ("compare",),
        ("report",),
        ("data",),
        ("data", "describe"),
        ("benchmark",),
        ("experiment",),
        ("experiment", "figure-1"),
    ],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert loaded(HELP.format(arguments=arguments)) == []


def test_the_package_imports_nothing_heavy_until_a_name_is_used() -> None:
    assert loaded("import gate_model; gate_model.Settings(); gate_model.DataRequest()") == []
    assert "torch" in loaded("import gate_model; gate_model.train")


def test_an_error_before_any_work_is_one_message(tmp_path: Path) -> None:
    code = HELP.replace('"--help"', f'"--device", "cpu", "--tasks", \'"a\', "--out", {str(tmp_path / "x")!r}')
    code = code.replace("end.code == 0", "end.code == 2").format(arguments=["learn"])
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert 'error: --tasks "a: it must be names separated by commas' in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_every_public_name_is_there() -> None:
    for name in gate_model.__all__:
        assert getattr(gate_model, name) is not None
    assert set(gate_model.__all__) <= set(dir(gate_model))
    assert gate_model.register_embedding.__module__ == "gate_model.model.embeddings"
    with pytest.raises(AttributeError, match="'gate_model' has no attribute 'tain'"):
        _ = gate_model.tain


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_their_own_help_says(name: str) -> None:
    own = " ".join(CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "250"}).stdout.split())
    assert COMMANDS[name].rstrip(".") in own
    assert "--install-completion" not in own


def test_a_command_is_imported_when_it_is_called_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "some_commands"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "broken.py").write_text("1 / 0")
    (package / "fine.py").write_text(
        "import typer\napp = typer.Typer()\n@app.command()\ndef fine(word: str) -> None:\n    print(word)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    group = typer.Typer(cls=lazy_group("some_commands", {"fine": "Says it.", "broken": "Never."}))
    group.callback()(lambda: None)
    assert "Never." in CliRunner().invoke(group, ["--help"]).stdout
    assert CliRunner().invoke(group, ["fine", "hello"]).stdout == "hello\n"
    assert isinstance(CliRunner().invoke(group, ["broken"]).exception, ZeroDivisionError)
    assert "broken" in CliRunner().invoke(group, ["brokn"]).stderr
