from pathlib import Path

from ablation.diff.revisions import Revision


def test_labels_that_all_look_like_numbers_stay_text(tmp_path: Path) -> None:
    (tmp_path / "candidates.csv").write_text("candidate,setting,accuracy\n0.2,0.2,0.8\n0,0,0.7\n")
    table = Revision(tmp_path, "here").table("candidates.csv")
    assert table["setting"].tolist() == ["0.2", "0"]
    assert table["accuracy"].tolist() == [0.8, 0.7]
