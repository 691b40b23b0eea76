"""Direct preference optimisation of the model under study, by trl (section 2 of the paper).

One process or several that were started together (`dpotox.run.in_processes`) train to the same weights:
the profile's batch is divided between them. The reference model's log-probabilities are computed once and
kept with the checkpoints, so that a run that was killed goes on from the last evaluation.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from datasets import Dataset, disable_progress_bars, load_from_disk
from torch.utils.data import RandomSampler
from transformers import EarlyStoppingCallback, PreTrainedModel, TrainerCallback
from trl import DPOConfig, DPOTrainer

from dpotox import profile
from dpotox.errors import UserError
from dpotox.inputs.training_progress import show_progress

disable_progress_bars()  # ours shows what takes long


class PairTrainer(DPOTrainer):
    """trl's trainer on pairs that are token ids already.

    trl would end every completion with an end-of-text token. Ours are cut at a fixed length, so that
    token would teach the model to stop in the middle of sentences.
    """

    def _prepare_dataset(self, dataset, *_args):
        return dataset

    def _get_train_sampler(self, *_args) -> RandomSampler:
        """Whole batches only, also where a batch goes through in parts."""
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        return RandomSampler(self.train_dataset, num_samples=len(self.train_dataset) // batch * batch)


def train_dpo(
    network: PreTrainedModel,
    tokenizer,
    pairs: pd.DataFrame,
    settings: profile.Dpo,
    cut: profile.Pairs,
    folder: Path,
    *,
    seed: int,
    on_cpu: bool,
    at_once: int | None = None,
    checkpoint: Path | None = None,
    trainer: type[PairTrainer] = PairTrainer,
    config: Callable[..., DPOConfig] = DPOConfig,
    watch: Sequence[TrainerCallback] = (),
    label: str = "DPO",
) -> pd.DataFrame:
    """Train `network` in place on all but the last `cut.validation` pairs.

    With `settings.patience`, training ends when that many evaluations in a row have not lowered the
    validation loss, and the weights of the best one are taken.

    Args:
        cut: how many pairs are for validation, and the largest lengths of prompt and continuation in tokens.
        folder: takes token ids, reference log-probabilities and checkpoints, as trl needs one.
        at_once: pairs that go through the network together, at most; gradients add up to a whole batch's.
        checkpoint: the one to go on from.
        trainer, config: whose loss is minimised, and what makes its settings of DPO's; DPO's own, or those of
            `dpotox.paper.objectives`.
        watch: what looks on, and may end the training.

    Returns:
        The curves: `step`, `split` (train or validation), `loss`, `margin` (reward of chosen minus
        rejected, in units of beta nats) and `accuracy` (share of pairs with a positive margin).

    Raises:
        UserError: the batch cannot be divided between the processes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # trl uses names that transformers renames
        arguments = _arguments(settings, folder / "checkpoints", seed, on_cpu, at_once, config)
        with arguments.main_process_first(local=False, desc="writing token ids"):  # one folder for all
            rows = _token_rows(tokenizer, pairs, cut, folder / "token_ids")
        arguments.eval_on_start = checkpoint is None and arguments.eval_strategy != "no"
        training = trainer(
            network,
            args=arguments,
            train_dataset=rows["train"],
            eval_dataset=rows["validation"],
            processing_class=tokenizer,
            callbacks=[*watch, *([EarlyStoppingCallback(settings.patience)] if settings.patience else [])],
        )
        with show_progress(training, label):
            training.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        training.accelerator.wait_for_everyone()
    network.eval()
    return _curves(training.state.log_history)


def _arguments(
    settings: profile.Dpo,
    checkpoints: Path,
    seed: int,
    on_cpu: bool,
    at_once: int | None = None,
    config: Callable[..., DPOConfig] = DPOConfig,
) -> DPOConfig:
    arguments = config(
        output_dir=str(checkpoints),
        beta=settings.beta,
        learning_rate=settings.learning_rate,
        optim=settings.optimizer,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup_steps,
        max_steps=settings.steps,
        max_grad_norm=settings.max_grad_norm,
        logging_steps=max(1, settings.eval_every // 5),
        eval_strategy="steps",
        eval_steps=settings.eval_every,
        save_strategy="steps",
        save_steps=settings.eval_every,
        save_total_limit=1,  # and the best, if that is another
        load_best_model_at_end=settings.patience > 0,
        metric_for_best_model="eval_loss",
        restore_callback_states_from_checkpoint=True,
        precompute_ref_log_probs=True,
        max_length=None,
        bf16=False,
        gradient_checkpointing=False,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        dataloader_drop_last=True,  # several processes would fill the last batch up with other pairs
        ddp_find_unused_parameters=False,
        report_to=[],
        seed=seed,
        use_cpu=on_cpu,
    )
    processes = arguments.world_size
    if settings.batch_size % processes:
        raise UserError(
            f"dpo.batch_size = {settings.batch_size} cannot be divided between {processes} processes; start "
            "as many as divide it"
        )
    own = settings.batch_size // processes
    together = max(n for n in range(1, min(own, at_once or own) + 1) if own % n == 0)
    arguments.per_device_train_batch_size = arguments.per_device_eval_batch_size = together
    arguments.gradient_accumulation_steps = own // together
    arguments._n_gpu = min(arguments.n_gpu, 1)  # one process, one GPU: else each would get a whole batch
    return arguments


def _token_rows(tokenizer, pairs: pd.DataFrame, cut: profile.Pairs, folder: Path) -> dict[str, Dataset]:
    """Training and validation pairs as token ids, on disk, where trl keeps the log-probabilities too."""
    parts = {"train": pairs.iloc[: -cut.validation], "validation": pairs.iloc[-cut.validation :]}
    for name, part in parts.items():
        if not all((folder / name / f).exists() for f in ("state.json", "dataset_info.json")):
            rows = [_token_ids(tokenizer, pair, cut) for pair in part.itertuples()]
            Dataset.from_list(rows).save_to_disk(folder / name)
    return {name: load_from_disk(folder / name) for name in parts}


def _token_ids(tokenizer, pair, cut: profile.Pairs) -> dict[str, list[int]]:
    def continuation(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"][: cut.new_tokens]

    return {
        "prompt_ids": tokenizer(pair.prompt)["input_ids"][: cut.prompt_tokens],
        "chosen_ids": continuation(pair.chosen),
        "rejected_ids": continuation(pair.rejected),
    }


def _curves(history: list[dict]) -> pd.DataFrame:
    named = {"loss": "loss", "margin": "rewards/margins", "accuracy": "rewards/accuracies"}
    return pd.DataFrame(
        {"step": int(entry["step"]), "split": split}
        | {name: float(entry.get(prefix + theirs, math.nan)) for name, theirs in named.items()}
        for split, prefix in (("train", ""), ("validation", "eval_"))
        for entry in history
        if f"{prefix}loss" in entry
    )
