"""Losses other than DPO's on the same pairs. Beyond the paper.

IPO, hinge and SFT are losses of trl's DPO trainer, and KTO has a trainer of trl's; SimPO and ORPO are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from datasets import Dataset
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid
from trl import DPOConfig, KTOConfig, KTOTrainer

from dpotox.facts import AGAIN
from dpotox.paper.dpo import PairTrainer

BETA, GAMMA = 2.0, 1.0
"""SimPO's, with which its paper begins; as log-probabilities are those of a token, they are not DPO's."""
LAMBDA = 0.1
"""ORPO's weight of the odds ratio."""
Means = Float[Tensor, "pair"]
"""Mean log-probabilities of a continuation's tokens, in nats."""


def simpo(chosen: Means, rejected: Means) -> Means:
    """The loss of SimPO (arXiv 2405.14734, equation 6)."""
    return -logsigmoid(BETA * (chosen - rejected) - GAMMA)


def orpo(chosen: Means, rejected: Means) -> Means:
    """The loss of ORPO (arXiv 2403.07691, equations 6 and 7)."""

    def log_odds(mean: Means) -> Means:
        return mean - (-mean.expm1()).log()

    return -chosen - LAMBDA * logsigmoid(log_odds(chosen) - log_odds(rejected))


class _MeanTrainer(PairTrainer):
    """The same trainer with a loss of mean log-probabilities, which has no reference model."""

    loss: Callable[[Means, Means], Means]

    def _compute_loss(self, model, inputs, return_outputs):
        named, completion = ("input_ids", "attention_mask"), inputs["completion_mask"]
        labels = inputs["input_ids"].masked_fill(completion == 0, -100)
        found = model(**{n: inputs[n] for n in named}, labels=labels, use_cache=False, fused_lm_head=True)
        means = found.log_probs.sum(1) / completion[:, 1:].sum(1)  # zero outside of the continuation
        loss = self.loss(*means.chunk(2)).mean()
        return (loss, found) if return_outputs else loss


class SimpoTrainer(_MeanTrainer):
    loss = staticmethod(simpo)


class OrpoTrainer(_MeanTrainer):
    loss = staticmethod(orpo)


class KtoTrainer(KTOTrainer):
    """trl's trainer on continuations of the same pairs one by one, as many pairs in a batch."""

    def __init__(self, network, args: KTOConfig, **options) -> None:
        args.per_device_train_batch_size *= 2
        args.per_device_eval_batch_size *= 2
        super().__init__(network, args=args, **options)

    def _prepare_dataset(self, dataset: Dataset, _tokenizer, args: KTOConfig, *_args) -> Dataset:
        """In one shuffled order, as trl needs it; whole batches only."""
        half = args.per_device_train_batch_size // 2
        with args.main_process_first(local=False):  # which writes what the others read
            return dataset.shuffle(seed=args.seed).map(
                _unpaired,
                batched=True,
                batch_size=half,
                drop_last_batch=True,
                remove_columns=dataset.column_names,
            )


def _unpaired(pairs: dict[str, list]) -> dict[str, list]:
    """Chosen and rejected continuations in turn, and beside each the one before it, after this prompt.

    No two neighbours are of one pair, so that the latter, of which KTO takes its reference point, is none
    that was sampled after that prompt.
    """
    n = len(pairs["prompt_ids"])
    order = [place for i in range(n) for place in ((i, "chosen_ids"), ((i + 2) % n, "rejected_ids"))]
    texts = [pairs[side][i] for i, side in order]
    return {
        "prompt_ids": [pairs["prompt_ids"][i] for i, _ in order],
        "completion_ids": texts,
        "KL_completion_ids": [texts[-1], *texts[:-1]],
        "label": [side == "chosen_ids" for _, side in order],
    }


def _config(kind: type, more: dict, **usual):
    """DPO's settings and `more`; nothing is evaluated or kept on the way: what is cut off is begun anew."""
    return kind(**(usual | {"eval_strategy": "no", "save_strategy": "no"} | more))


def options(objective: str) -> dict:
    """What `train_dpo` needs to train by an objective: `trainer`, `config` and `label`."""
    own = {"simpo": SimpoTrainer, "orpo": OrpoTrainer, "kto": KtoTrainer}.get(objective, PairTrainer)
    kind = KTOConfig if objective == "kto" else DPOConfig
    more = {"loss_type": objective} if own is PairTrainer and objective != AGAIN else {}
    return {"trainer": own, "config": partial(_config, kind, more), "label": objective}
