"""Fine-tuning on plain texts, as DPO trains but for the loss, by `transformers.Trainer`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence

from transformers import (
    DataCollatorForLanguageModeling,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from dpotox.inputs.training_progress import show_progress
from dpotox.profile import Dpo
from dpotox.run.together import world_size


class _Examine(TrainerCallback):
    """Calls something after some steps, with the network set to be read."""

    def __init__(self, network: PreTrainedModel, at: Collection[int], examine: Callable[[int], None]) -> None:
        self.network, self.at, self.examine = network, at, examine

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step in self.at:
            self.network.eval()
            self.examine(state.global_step)
            self.network.train()


def fine_tune(
    network: PreTrainedModel,
    tokenizer,
    texts: Sequence[str],
    settings: Dpo,
    *,
    max_tokens: int,
    steps: Sequence[int],
    examine: Callable[[int], None],
    seed: int,
    on_cpu: bool,
    batch_size: int,
) -> None:
    """Train a network in place on the loss of texts, at a constant rate, until the last of some steps.

    A batch has as many texts as one of DPO has pairs. Optimizer, rate and largest gradient are DPO's.

    Args:
        max_tokens: texts are cut to this.
        steps: after which `examine` is called with the number of the step.
        batch_size: texts that go through the network together, at most.
    """
    padded = copy.deepcopy(tokenizer)  # which others set to pad at the left
    padded.padding_side = "right"
    rows = padded(list(texts), truncation=True, max_length=max_tokens)["input_ids"]
    own = max(1, settings.batch_size // world_size())
    together = max(n for n in range(1, min(own, batch_size) + 1) if own % n == 0)
    arguments = TrainingArguments(
        output_dir="unused",
        max_steps=max(steps),
        per_device_train_batch_size=together,
        gradient_accumulation_steps=own // together,
        learning_rate=settings.learning_rate,
        optim=settings.optimizer,
        lr_scheduler_type="constant",
        max_grad_norm=settings.max_grad_norm,
        dataloader_drop_last=len(rows) >= settings.batch_size,
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=False,
        save_strategy="no",
        report_to=[],
        seed=seed,
        use_cpu=on_cpu,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # else each GPU would get a whole batch
    trainer = Trainer(
        network,
        arguments,
        train_dataset=[{"input_ids": row} for row in rows],
        data_collator=DataCollatorForLanguageModeling(padded, mlm=False),
        callbacks=[_Examine(network, set(steps), examine)],
    )
    with show_progress(trainer, "fine-tune"):
        trainer.train()
    network.eval()
