"""Which checkpoints of a run stay."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mose.storage import new_folder
from mose.train import checkpoints


def test_a_run_killed_while_it_removes_a_checkpoint_leaves_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in range(3):
        with new_folder(tmp_path / f"step_00000{step}") as staging:
            (staging / checkpoints.POSITION_FILE).write_text("{}")
            (staging / "weights").write_text("0" * 99)

    def killed_after_a_file(folder: Path) -> None:
        (folder / checkpoints.POSITION_FILE).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed_after_a_file)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.remove_oldest(tmp_path, keep=1)
    checkpoints.remove_oldest(tmp_path, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step_000002"]
