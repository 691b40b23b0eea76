"""Progress on stderr, the same in a terminal and in a notebook (where the book leaves stderr out)."""

from __future__ import annotations

import os
import sys

from tqdm import tqdm
from transformers import ProgressCallback, Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from transformers.utils.notebook import NotebookProgressCallback

if not sys.stderr.isatty():  # libraries' own bars would fill a log
    os.environ.setdefault("TQDM_DISABLE", "1")


def bar(iterable, label: str, unit: str = "it", total: int | None = None):
    """A progress bar over an iterable, gone when it is done; none where stderr is not a terminal."""
    # One of several processes shows it for all.
    hidden = True if os.environ.get("RANK", "0") != "0" else None
    return tqdm(iterable, desc=label, unit=unit, total=total, leave=False, file=sys.stderr, disable=hidden)


def note(text: str) -> None:
    """A line about what is going on."""
    print(text, file=sys.stderr, flush=True)


class _Bar(TrainerCallback):
    """Training steps with the latest loss, in place of the tables that trainers print."""

    def __init__(self, label: str) -> None:
        self.label = label

    def on_train_begin(self, args, state, control, **kwargs):
        self.tqdm = bar(None, self.label, "step", state.max_steps)

    def on_step_end(self, args, state, control, **kwargs):
        self.tqdm.update(state.global_step - self.tqdm.n)

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs and "loss" in logs:
            self.tqdm.set_postfix(loss=f"{float(logs['loss']):.3f}")

    def on_train_end(self, args, state, control, **kwargs):
        self.tqdm.close()


def show_progress(trainer: Trainer, label: str) -> None:
    """Replace a trainer's own reports by one progress bar."""
    for callback in (PrinterCallback, ProgressCallback, NotebookProgressCallback):
        trainer.remove_callback(callback)
    trainer.add_callback(_Bar(label))
