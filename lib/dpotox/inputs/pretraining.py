"""A small GPT-2 pre-trained on the spot, on the generated language or on text files of one's own.

`transformers.Trainer` trains; this module makes the tokenizer, the rows and the optimiser, and reports how
far the loss on unseen text is from what could be reached, where that is known.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.overrides import TorchFunctionMode
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    DataCollatorForLanguageModeling,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    get_wsd_schedule,
)

from dpotox.errors import UserError
from dpotox.inputs.language import Document, Language
from dpotox.inputs.training_progress import show_progress
from dpotox.profile import Pretraining
from dpotox.progress import bar


def word_tokenizer(vocabulary: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer with one token per word; `<eos>` begins every text and pads."""
    ids = {w: i for i, w in enumerate(["<eos>", "<unk>", *vocabulary])}
    words = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return _beginning_with_eos(words, unk_token="<unk>")


def byte_pair_tokenizer(texts: list[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer like GPT-2's, trained on texts; `<eos>` begins every text and pads."""
    pairs = Tokenizer(models.BPE())
    pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pairs.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["<eos>"], initial_alphabet=alphabet, show_progress=False
    )
    pairs.train_from_iterator(texts, trainer)
    return _beginning_with_eos(pairs)


def _beginning_with_eos(tokenizer: Tokenizer, **tokens: str) -> PreTrainedTokenizerFast:
    tokenizer.post_processor = processors.TemplateProcessing("<eos> $A", special_tokens=[("<eos>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<eos>",
        eos_token="<eos>",
        pad_token="<eos>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
        **tokens,
    )


class _NoBfloat16(TorchFunctionMode):
    """Within it, `Tensor.bfloat16` copies without rounding."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.Tensor.bfloat16:
            return args[0].clone()
        return function(*args, **(kwargs or {}))


class MuonAndAdamW(torch.optim.Optimizer):
    """`torch.optim.Muon` for the blocks' matrices and AdamW for everything else, as one optimiser.

    Muon takes only matrices, and `Trainer` takes only one optimiser. The parameter groups are shared
    with the two inside, so a learning-rate schedule over this one reaches both. Muon orthogonalises in
    bfloat16, which most processors emulate, ten times slower; here it is done in the matrices' own precision.
    """

    def __init__(self, network: PreTrainedModel, settings: Pretraining) -> None:
        blocks = re.compile(r"\.(h|layers)\.\d+\.")
        matrices = [p for name, p in network.named_parameters() if p.ndim == 2 and blocks.search(name)]
        inside = set(matrices)
        rest = [p for p in network.parameters() if p not in inside]
        super().__init__([*matrices, *rest], {})
        self.parts = [
            torch.optim.Muon(matrices, lr=settings.muon_lr, weight_decay=settings.muon_weight_decay),
            torch.optim.AdamW(rest, lr=settings.adamw_lr, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure=None):
        with _NoBfloat16():
            for part, group in zip(self.parts, self.param_groups, strict=True):
                part.param_groups = [group]  # accelerate replaces the groups of the optimiser it wraps
                part.step()


@dataclass(frozen=True)
class Corpus:
    """What a model is trained on: rows that each begin with `<eos>`, and rows it does not see."""

    tokenizer: PreTrainedTokenizerFast
    rows: list[Int[Tensor, "pos"]]
    unseen: list[Int[Tensor, "pos"]]
    passes: int


@dataclass(frozen=True)
class LossReport:
    """How good a language model is on unseen text, in nats per token."""

    loss: float
    unigram: float  # what token frequencies alone would reach
    bound: float | None = None  # the generator's own information content, on its complete sentences


def generated_documents(settings: Pretraining, seed: int) -> tuple[list[Document], list[Document]]:
    """Documents to train on, sampled afresh for the seed, and 1,000 for testing."""
    language = Language(settings.language)
    rng, test = Random(f"pretraining {seed}"), Random(f"pretraining test {seed}")
    numbers = bar(range(settings.rows), "sample documents", "doc")
    train = [language.sample(rng, settings.words) for _ in numbers]
    return train, [language.sample(test, settings.words) for _ in range(1_000)]


def generated_corpus(language: str, train: list[Document], unseen: list[Document]) -> Corpus:
    """Each document is a row, as packing several learns slower, and is seen once, as if always unseen."""
    tokenizer = word_tokenizer(Language(language).vocabulary)
    texts = [[" ".join(d.words) for d in documents] for documents in (train, unseen)]
    rows, others = (list(tokenizer(some, return_tensors="pt")["input_ids"]) for some in texts)
    return Corpus(tokenizer, rows, others, 1)


def text_corpus(texts: list[str], settings: Pretraining, seed: int) -> Corpus:
    """Texts cut into rows of at most `settings.words` tokens after `<eos>`; every 20th text is not seen.

    Raises:
        UserError: there are fewer than 100 texts.
    """
    if len(texts) < 100:
        raise UserError(f"pretraining.texts hold {len(texts)} texts; give files with at least 100")
    texts = Random(f"texts {seed}").sample(texts, len(texts))
    tokenizer = byte_pair_tokenizer(texts, settings.vocabulary)

    def cut(part: list[str]) -> list[Tensor]:
        ids = tokenizer(part, add_special_tokens=False)["input_ids"]
        pieces = [torch.tensor(row).split(settings.words) for row in ids if row]
        start = torch.tensor([tokenizer.bos_token_id])
        return [torch.cat([start, piece]) for row in pieces for piece in row]

    unseen = texts[::20]
    seen = [text for i, text in enumerate(texts) if i % 20]
    return Corpus(tokenizer, cut(seen)[: settings.rows], cut(unseen), settings.passes)


def pretrain(
    corpus: Corpus, settings: Pretraining, seed: int, *, on_cpu: bool = True, bf16: bool = False
) -> tuple[PreTrainedModel, pd.DataFrame]:
    """Pre-train a model; returns it with its training curve (`step`, `loss`).

    Everything is computed in float32, or with `bf16` in mixed precision, which is slow where it is emulated.

    Muon's weight decay keeps the pre-activations small; with the bias it makes most neurons inactive on
    average, as they are in GPT-2 medium.
    """
    torch.manual_seed(seed)
    network = AutoModelForCausalLM.from_config(
        _architecture(settings, corpus.tokenizer), attn_implementation="eager"
    )
    entering = re.compile(r"\.mlp\.(c_fc|dense_h_to_4h)\.bias$")
    for name, parameter in network.named_parameters():
        if entering.search(name):
            torch.nn.init.constant_(parameter, settings.mlp_bias)
    optimizer = MuonAndAdamW(network, settings)
    steps = len(corpus.rows) * corpus.passes // settings.batch_size
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
        use_cpu=on_cpu,
        bf16=bf16,
        logging_steps=max(1, steps // 50),
        save_strategy="no",
        report_to=[],
        seed=seed,
        max_grad_norm=1.0,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # else each GPU would get a whole batch
    trainer = Trainer(
        network,
        arguments,
        train_dataset=[{"input_ids": row} for row in corpus.rows],
        data_collator=DataCollatorForLanguageModeling(corpus.tokenizer, mlm=False),
        optimizers=(optimizer, schedule),
    )
    with show_progress(trainer, "pre-train"):
        trainer.train()
    log = pd.DataFrame(trainer.state.log_history)[["step", "loss"]].dropna().astype(float)
    return network.float().cpu().eval(), log


def pretrain_into(
    folder: Path,
    settings: Pretraining,
    seed: int,
    texts: list[str] | None = None,
    *,
    on_cpu: bool = True,
    bf16: bool = False,
) -> None:
    """Pre-train and write into a folder: weights, tokenizer, `curve.csv`, `loss.json`.

    Args:
        texts: what to train on; the generated language if not given.
    """
    if texts is None:
        train, unseen = generated_documents(settings, seed)
        corpus = generated_corpus(settings.language, train, unseen)
        on_cpu = True  # small enough, and everywhere the same
    else:
        corpus = text_corpus(texts, settings, seed)
    network, curve = pretrain(corpus, settings, seed, on_cpu=on_cpu, bf16=bf16)
    network.save_pretrained(folder)
    corpus.tokenizer.save_pretrained(folder)
    curve.to_csv(folder / "curve.csv", index=False)
    if texts is None:
        report = generated_loss(network, settings.language, corpus.unseen, unseen)
    else:
        report = text_loss(network, corpus.unseen)
    (folder / "loss.json").write_text(json.dumps(asdict(report)))


def generated_loss(
    network, language: str, rows: list[Int[Tensor, "pos"]], documents: list[Document]
) -> LossReport:
    """Compare a model's loss with the generator's bound, both on the documents' complete sentences."""
    lengths = [d.complete + 1 for d in documents]
    report = text_loss(network, [row[:length] for row, length in zip(rows, lengths, strict=True)])
    bound = float(Language(language).nats(documents).sum() / sum(d.complete for d in documents))
    return replace(report, bound=bound)


def text_loss(network, rows: list[Int[Tensor, "pos"]]) -> LossReport:
    """A model's mean loss per token of rows, and what the tokens' frequencies alone would reach."""
    nll, at_once = 0.0, max(1, 2**26 // (max(map(len, rows)) * network.config.vocab_size))
    rows = sorted(rows, key=len)
    for start in range(0, len(rows), at_once):
        batch = pad_sequence(rows[start : start + at_once], batch_first=True)
        length = torch.tensor([len(row) for row in rows[start : start + at_once]])
        with torch.no_grad():
            logits = network(batch).logits[:, :-1].float()
        counted = torch.arange(batch.shape[1] - 1) < length[:, None] - 1
        losses = torch.nn.functional.cross_entropy(logits.mT, batch[:, 1:], reduction="none")
        nll += float(losses[counted].sum())
    tokens = np.bincount(torch.cat([row[1:] for row in rows]).numpy())
    frequency = tokens[tokens > 0] / tokens.sum()
    return LossReport(nll / tokens.sum(), float(-(frequency * np.log(frequency)).sum()))


def _architecture(settings: Pretraining, tokenizer) -> PretrainedConfig:
    """A family in small. GPT-2's activation is its own `gelu_new`, in the fused form that trains faster."""
    given = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    given |= {"vocab_size": len(tokenizer), "initializer_range": settings.init_std}
    positions = max(64, settings.words + 1)
    if settings.family == "gpt2":
        shape = {
            "n_positions": positions,
            "n_embd": settings.d_model,
            "n_layer": settings.layers,
            "n_head": settings.heads,
            "n_inner": settings.d_mlp,
            "activation_function": "gelu_pytorch_tanh",
        } | dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), settings.dropout)
    else:
        shape = {
            "max_position_embeddings": positions,
            "hidden_size": settings.d_model,
            "num_hidden_layers": settings.layers,
            "num_attention_heads": settings.heads,
            "num_key_value_heads": settings.heads,
            "head_dim": settings.d_model // settings.heads,
            "intermediate_size": settings.d_mlp,
            "tie_word_embeddings": True,
        } | dict.fromkeys(("attention_dropout", "hidden_dropout"), settings.dropout)
    return AutoConfig.for_model(settings.family, **shape, **given)
