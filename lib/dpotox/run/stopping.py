"""When a training by another objective has done as much as DPO, or will not (`dpotox.run.matching`).

Apart, as trainers are slow to import.
"""

from __future__ import annotations

from collections.abc import Callable

from transformers import PreTrainedModel, TrainerCallback

from dpotox.facts import ENOUGH

NEAR, HOPELESS = 0.75, 0.25
"""From which share of DPO's effect it is measured more often; below which at half of the steps it ends."""
SELDOM, OFTEN = 9, 90
"""How often it is measured in all steps of a training."""


class Until(TrainerCallback):
    """Ends a training when it has done enough, or will not.

    Args:
        gone: the share of DPO's effect that a network has taken out.

    Attributes:
        history: the steps after which it was measured, and the shares.
    """

    def __init__(self, gone: Callable[[PreTrainedModel], float]) -> None:
        self.gone, self.history = gone, []

    def on_train_begin(self, args, state, control, **kwargs):
        self.history = []

    def on_step_end(self, args, state, control, model=None, **kwargs):
        near = bool(self.history) and self.history[-1][1] >= NEAR
        every = max(1, state.max_steps // (OFTEN if near else SELDOM))
        if state.global_step % every and state.global_step < state.max_steps:
            return
        share = self.gone(model)
        self.history.append((state.global_step, share))
        hopeless = 2 * state.global_step >= state.max_steps and share < HOPELESS
        control.should_training_stop |= hopeless or share >= ENOUGH[0]


class After(TrainerCallback):
    """Ends a training after so many steps, on a schedule of more."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop |= state.global_step >= self.steps
