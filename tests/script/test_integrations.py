"""Callbacks for trainers of other libraries: one line in the script."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from scripts import HUGGING_FACE, LIGHTNING

import nondet as nd
from nondet import integrations


@pytest.mark.slow
def test_hugging_face(fast: Path) -> None:
    pytest.importorskip("accelerate")
    head, _, _ = HUGGING_FACE.partition("predicted =")
    text = head.replace(
        "train_dataset=Rows(rows[:56], True))",
        "train_dataset=Rows(rows[:56], True), eval_dataset=Rows(rows[56:], False), callbacks=[HFCallback()])",
    ).replace("import torch\n", "import torch\nfrom nondet.integrations import HFCallback\n", 1)
    fast.write_text(text.replace('save_strategy="no"', 'save_strategy="no", eval_strategy="epoch"'))
    study = nd.run(nd.Script("fast.py"), runs=2, vary="all", folder="s", executor="local")
    assert study["all"].outputs.shape == (2, 24, 2)
    assert (study["all"].scores()["eval_loss"] > 0).all()


@pytest.mark.slow
def test_lightning(fast: Path) -> None:
    pytest.importorskip("lightning")
    head, _, _ = LIGHTNING.partition("test = Points(False)")
    text = head.replace(
        "    def predict_step",
        "    def validation_step(self, batch, number):\n"
        "        self.log('val_acc', (self(batch[0]).argmax(1) == batch[1]).float().mean())\n\n    def predict_step",
    ).replace("enable_checkpointing=False,", "enable_checkpointing=False, callbacks=[LightningCallback()],")
    text = text.replace("num_workers=options.workers))", "num_workers=options.workers), DataLoader(Points(False), 30))")
    fast.write_text("from nondet.integrations import LightningCallback\n" + text)
    study = nd.run(nd.Script("fast.py"), runs=2, vary="all", folder="s", executor="local")
    assert study["all"].scores()["val_acc"].shape == (2,)
    kept = pickle.dumps(integrations.LightningCallback())  # as a trainer does for processes that it starts
    assert type(pickle.loads(kept)) is integrations.LightningCallback


def test_there_are_no_others() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'KerasCallback'"):
        integrations.KerasCallback  # noqa: B018
