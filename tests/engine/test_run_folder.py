from pathlib import Path

import pytest

from bilevel_hpo.run_folder import RunError, open_folder


def test_a_run_goes_on_with_the_same_configuration_only_and_says_what_differs(tmp_path: Path) -> None:
    config = {"tasks": ["DS", "HV"], "settings": {"lr": 0.1, "d": 64, "old": None}}
    open_folder(tmp_path, config, resume=False)
    open_folder(tmp_path, config, resume=True)
    with pytest.raises(RunError, match="holds a run already; add --resume"):
        open_folder(tmp_path, config, resume=False)
    other = {"tasks": ["DS"], "settings": {"lr": 0.2, "d": 64}}
    said = (
        "but settings.lr was 0.1, now 0.2; settings.old was None, now absent; tasks was ['DS', 'HV'], now ['DS']. "
        "Choose another --out"
    )
    with pytest.raises(RunError) as error:
        open_folder(tmp_path, other, resume=True)
    assert said in str(error.value)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(RunError, match="it was"):
        open_folder(tmp_path, config, resume=True)
