"""Direct preference optimisation of the model under study, by trl (section 2 of the paper)."""

from __future__ import annotations

import tempfile
import warnings

import pandas as pd
from datasets import Dataset, disable_progress_bars
from transformers import PreTrainedModel
from trl import DPOConfig, DPOTrainer

from dpotox import profile
from dpotox.progress import show_progress

disable_progress_bars()  # ours shows what takes long


class _PairTrainer(DPOTrainer):
    """trl's trainer on pairs that are token ids already.

    trl would end every completion with an end-of-text token. Ours are cut at a fixed length, so that
    token would teach the model to stop in the middle of sentences.
    """

    def _prepare_dataset(self, dataset, *_args):
        return dataset


def train_dpo(
    network: PreTrainedModel,
    tokenizer,
    pairs: pd.DataFrame,
    settings: profile.Dpo,
    *,
    validation: int,
    seed: int,
    on_cpu: bool,
) -> pd.DataFrame:
    """Train `network` in place on all but the last `validation` pairs.

    Returns:
        The curves: `step`, `split` (train or validation), `loss`, `margin` (reward of chosen minus
        rejected, in units of beta nats) and `accuracy` (share of pairs with a positive margin).
    """
    rows = Dataset.from_list([_token_ids(tokenizer, pair) for pair in pairs.itertuples()])
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # trl uses names that transformers renames
        arguments = DPOConfig(
            output_dir=folder,
            beta=settings.beta,
            learning_rate=settings.learning_rate,
            optim=settings.optimizer,
            lr_scheduler_type=settings.schedule,
            warmup_steps=settings.warmup_steps,
            per_device_train_batch_size=settings.batch_size,
            per_device_eval_batch_size=settings.batch_size,
            max_steps=settings.steps,
            max_grad_norm=settings.max_grad_norm,
            logging_steps=max(1, settings.eval_every // 5),
            eval_strategy="steps",
            eval_steps=settings.eval_every,
            eval_on_start=True,
            save_strategy="no",
            precompute_ref_log_probs=True,
            max_length=None,
            bf16=False,
            gradient_checkpointing=False,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            report_to=[],
            seed=seed,
            use_cpu=on_cpu,
        )
        trainer = _PairTrainer(
            network,
            args=arguments,
            train_dataset=rows.select(range(len(rows) - validation)),
            eval_dataset=rows.select(range(len(rows) - validation, len(rows))),
            processing_class=tokenizer,
        )
        show_progress(trainer, "DPO")
        trainer.train()
    network.eval()
    return _curves(trainer.state.log_history)


def _token_ids(tokenizer, pair) -> dict[str, list[int]]:
    def continuation(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    return {
        "prompt_ids": tokenizer(pair.prompt)["input_ids"],
        "chosen_ids": continuation(pair.chosen),
        "rejected_ids": continuation(pair.rejected),
    }


def _curves(history: list[dict]) -> pd.DataFrame:
    rows = []
    for split, prefix in (("train", ""), ("validation", "eval_")):
        for entry in history:
            if f"{prefix}loss" in entry:
                rows.append(
                    {
                        "step": int(entry["step"]),
                        "split": split,
                        "loss": float(entry[f"{prefix}loss"]),
                        "margin": float(entry[f"{prefix}rewards/margins"]),
                        "accuracy": float(entry[f"{prefix}rewards/accuracies"]),
                    }
                )
    return pd.DataFrame(rows)
