"""Progress of trainers, shown as `dpotox.progress` shows it. Apart, as trainers are slow to import."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import ProgressCallback, Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from transformers.utils.notebook import NotebookProgressCallback

from dpotox.progress import bar


class _Bar(TrainerCallback):
    """Training steps with the latest loss, in place of the tables that trainers print."""

    def __init__(self, label: str) -> None:
        self.label, self.tqdm = label, None

    def on_train_begin(self, args, state, control, **kwargs):
        self.tqdm = bar(None, self.label, "step", state.max_steps)

    def on_step_end(self, args, state, control, **kwargs):
        self.tqdm.update(state.global_step - self.tqdm.n)

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs and "loss" in logs:
            self.tqdm.set_postfix(loss=f"{float(logs['loss']):.3f}")

    def close(self) -> None:
        if self.tqdm is not None:
            self.tqdm.close()


@contextmanager
def show_progress(trainer: Trainer, label: str) -> Iterator[None]:
    """Within it, a trainer's own reports are replaced by one progress bar, gone also when training fails."""
    for callback in (PrinterCallback, ProgressCallback, NotebookProgressCallback):
        trainer.remove_callback(callback)
    shown = _Bar(label)
    trainer.add_callback(shown)
    try:
        yield
    finally:
        shown.close()
