"""The embedded model: a small GPT-2 pre-trained on the spot, and how close it comes to the optimum.

`transformers.Trainer` trains; this module makes the tokenizer, the rows and the optimiser.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    get_wsd_schedule,
)

from dpotox.language import Document, Language
from dpotox.profile import Pretraining
from dpotox.progress import bar, show_progress


def word_tokenizer(vocabulary: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer with one token per word; `<eos>` begins every text and pads."""
    ids = {w: i for i, w in enumerate(["<eos>", "<unk>", *vocabulary])}
    words = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing("<eos> $A", special_tokens=[("<eos>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        bos_token="<eos>",
        eos_token="<eos>",
        pad_token="<eos>",
        unk_token="<unk>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


class MuonAndAdamW(torch.optim.Optimizer):
    """`torch.optim.Muon` for the blocks' matrices and AdamW for everything else, as one optimiser.

    Muon takes only matrices, and `Trainer` takes only one optimiser. The parameter groups are shared
    with the two inside, so a learning-rate schedule over this one reaches both.
    """

    def __init__(self, network: GPT2LMHeadModel, settings: Pretraining) -> None:
        matrices = [p for p in network.transformer.h.parameters() if p.ndim == 2]
        inside = set(matrices)
        rest = [p for p in network.parameters() if p not in inside]
        super().__init__([*matrices, *rest], {})
        self.parts = [
            torch.optim.Muon(matrices, lr=settings.muon_lr, weight_decay=settings.muon_weight_decay),
            torch.optim.AdamW(rest, lr=settings.adamw_lr, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure=None):
        for part, group in zip(self.parts, self.param_groups, strict=True):
            part.param_groups = [group]  # accelerate replaces the groups of the optimiser it wraps
            part.step()


@dataclass(frozen=True)
class LossReport:
    """How good a language model is on unseen documents, in nats per token of complete sentences."""

    loss: float
    bound: float  # the generator's own information content
    unigram: float  # what word frequencies alone would reach

    @property
    def excess(self) -> float:
        """The loss above the bound, in nats per token."""
        return self.loss - self.bound


def encode_rows(tokenizer, documents: list[Document]) -> Int[torch.Tensor, "document pos"]:
    """One document per row, each beginning with `<eos>`; packing several into a row learns slower."""
    texts = [" ".join(d.words) for d in documents]
    return tokenizer(texts, return_tensors="pt")["input_ids"]


def pretrain(settings: Pretraining, seed: int, threads: int) -> tuple[GPT2LMHeadModel, pd.DataFrame]:
    """Pre-train the embedded model; returns it with its training curve (`step`, `loss`).

    Documents are sampled afresh for the seed and each is seen once, so loss on them is loss on unseen
    text. Muon's weight decay keeps the pre-activations small; with the bias it makes most neurons
    inactive on average, as they are in GPT-2 medium.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    language, rng = Language(), Random(f"pretraining {seed}")
    tokenizer = word_tokenizer(language.vocabulary)
    documents = [
        language.sample(rng, settings.words) for _ in bar(range(settings.rows), "sample documents", "doc")
    ]
    rows = encode_rows(tokenizer, documents)
    network = GPT2LMHeadModel(_architecture(settings, tokenizer))
    for block in network.transformer.h:
        torch.nn.init.constant_(block.mlp.c_fc.bias, settings.mlp_bias)
    optimizer = MuonAndAdamW(network, settings)
    steps = settings.rows // settings.batch_size
    schedule = get_wsd_schedule(
        optimizer,
        num_warmup_steps=settings.warmup_steps,
        num_decay_steps=int(steps * settings.decay_share),
        num_training_steps=steps,
    )
    arguments = TrainingArguments(
        output_dir="unused",
        max_steps=steps,
        per_device_train_batch_size=settings.batch_size,
        use_cpu=True,  # small enough, and the same result everywhere
        bf16=True,
        logging_steps=max(1, steps // 50),
        save_strategy="no",
        report_to=[],
        seed=seed,
        max_grad_norm=1.0,
    )
    trainer = Trainer(
        network,
        arguments,
        train_dataset=[{"input_ids": row, "labels": row} for row in rows],
        optimizers=(optimizer, schedule),
    )
    show_progress(trainer, "pre-train")
    trainer.train()
    log = pd.DataFrame(trainer.state.log_history)[["step", "loss"]].dropna().astype(float)
    return network.float().cpu().eval(), log


def pretrain_into(folder: Path, settings: Pretraining, seed: int, threads: int) -> None:
    """Pre-train and write into a folder: weights, tokenizer, `curve.csv`, `loss.json`."""
    network, curve = pretrain(settings, seed, threads)
    language, rng = Language(), Random(f"pretraining test {seed}")
    tokenizer = word_tokenizer(language.vocabulary)
    unseen = [language.sample(rng, settings.words) for _ in range(1_000)]
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    curve.to_csv(folder / "curve.csv", index=False)
    report = loss_report(network, tokenizer, unseen)
    (folder / "loss.json").write_text(json.dumps(asdict(report)))


def loss_report(network, tokenizer, documents: list[Document]) -> LossReport:
    """Compare a model's loss with the generator's bound, both on the documents' complete sentences."""
    rows = encode_rows(tokenizer, documents)
    complete = torch.tensor([d.complete for d in documents])
    counted = torch.arange(rows.shape[1] - 1) < complete[:, None]
    nll = []
    with torch.no_grad():
        for batch in rows.split(250):
            logits = network(batch).logits[:, :-1].float()
            nll.append(torch.nn.functional.cross_entropy(logits.mT, batch[:, 1:], reduction="none"))
    tokens = int(counted.sum())
    words = np.bincount(rows[:, 1:][counted].numpy())
    frequency = words[words > 0] / words.sum()
    return LossReport(
        loss=float((torch.cat(nll) * counted).sum() / tokens),
        bound=float(Language().nats(documents).sum() / tokens),
        unigram=float(-(frequency * np.log(frequency)).sum()),
    )


def _architecture(settings: Pretraining, tokenizer) -> GPT2Config:
    """GPT-2 in small. The activation is GPT-2's own `gelu_new`, in the fused form that trains faster."""
    return GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=max(64, settings.words + 1),
        n_embd=settings.d_model,
        n_layer=settings.layers,
        n_head=settings.heads,
        n_inner=settings.d_mlp,
        activation_function="gelu_pytorch_tanh",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        initializer_range=settings.init_std,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="eager",
    )
