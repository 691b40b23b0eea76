"""Small repositories laid out as those of the hub that the shipped profiles name, with made-up contents."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from random import Random

import pandas as pd
import sentencepiece
import torch
from safetensors.torch import save_file
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
)

from dpotox.inputs.language import Language
from dpotox.inputs.sources import JIGSAW_LABELS

END = "<|endoftext|>"
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
"""The shape of a classifier."""


def some_texts(n: int, seed: int = 0) -> list[str]:
    """Documents of the generated language."""
    rng, language = Random(seed), Language()
    return [" ".join(language.sample(rng).words) for _ in range(n)]


def save_gpt2(folder: Path, seed: int = 0) -> GPT2LMHeadModel:
    """As openai-community/gpt2: no `transformer.` before the tensors' names, causal masks among them."""
    folder.mkdir(parents=True)
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(some_texts(200), 400, special_tokens=[END], show_progress=False)
    tokenizer.save_model(str(folder))  # vocab.json and merges.txt
    tokenizer.save(str(folder / "tokenizer.json"))
    end = tokenizer.token_to_id(END)
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=tokenizer.get_vocab_size(),
        n_positions=64,
        n_embd=16,
        n_layer=2,
        n_head=2,
        bos_token_id=end,
        eos_token_id=end,
        initializer_range=0.5,
        architectures=["GPT2LMHeadModel"],
    )
    network = GPT2LMHeadModel(config).eval()
    tensors = {n.removeprefix("transformer."): t for n, t in network.transformer.state_dict().items()}
    masks = {f"h.{i}.attn.bias": torch.ones(64, 64).tril()[None, None] for i in range(config.n_layer)}
    save_file(tensors | masks, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    return network


def save_bert(folder: Path) -> BertForSequenceClassification:
    """As unitary/toxic-bert: uncased, a label of its own for each kind, and `vocab.txt` for a tokenizer."""
    folder.mkdir(parents=True)
    uncased = sorted({word.lower() for word in Language().vocabulary})
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *uncased]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        **SMALL,
        max_position_embeddings=64,
        id2label=dict(enumerate(JIGSAW_LABELS)),
        initializer_range=1.0,
    )
    network = BertForSequenceClassification(config).eval()
    network.save_pretrained(folder)
    return network


def save_deberta(folder: Path) -> DebertaV2ForSequenceClassification:
    """As classifiers of DeBERTa-v3 in their first layout: `spm.model` and `pytorch_model.bin`."""
    folder.mkdir(parents=True)
    pieces = BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(some_texts(200)),
        model_writer=pieces,
        vocab_size=120,
        minloglevel=2,
        **{"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3},
        **{"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"},
    )
    (folder / "spm.model").write_bytes(pieces.getvalue())
    torch.manual_seed(0)
    config = DebertaV2Config(
        vocab_size=121,  # and the mask
        **SMALL,
        id2label={0: "LABEL_0", 1: "LABEL_1"},
        initializer_range=1.0,
        architectures=["DebertaV2ForSequenceClassification"],
    )
    network = DebertaV2ForSequenceClassification(config).eval()
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    return network


def save_comments(folder: Path, texts: list[str], toxic: list[bool]) -> None:
    """Jigsaw's train.csv as a table of parquet."""
    labels = {label: [int(t) if label == "toxic" else 0 for t in toxic] for label in JIGSAW_LABELS}
    ids = [f"{i:016x}" for i in range(len(texts))]
    _save_table(
        folder / "data" / "train-00000-of-00001.parquet", {"id": ids, "comment_text": texts, **labels}
    )
    _save_card(folder, "default", {"train": "data/train-*"})


def save_text(folder: Path, splits: dict[str, list[str]]) -> None:
    """As Salesforce/wikitext: parquet in a folder by the configuration's name, a line to a row."""
    config = "wikitext-2-raw-v1"
    for split, lines in splits.items():
        _save_table(folder / config / f"{split}-00000-of-00001.parquet", {"text": lines})
    _save_card(folder, config, {split: f"{config}/{split}-*" for split in splits})


def save_prompts(folder: Path, texts: list[str], challenging: list[bool]) -> None:
    """As allenai/real-toxicity-prompts: `prompts.jsonl`."""
    folder.mkdir(parents=True)
    rows = [
        {
            "filename": "made-up.txt",
            "begin": 0,
            "challenging": hard,
            "prompt": {"text": text, "toxicity": 0.9 if hard else None},
            "continuation": {"text": "another oven .", "toxicity": 0.1},
        }
        for text, hard in zip(texts, challenging, strict=True)
    ]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "README.md").write_text("---\nlanguage:\n- en\n---\n# Prompts\n")


def _save_table(path: Path, columns: dict[str, list]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_parquet(path, index=False)


def _save_card(folder: Path, config: str, files: dict[str, str]) -> None:
    """The card, whose head tells which files are which split."""
    splits = "".join(f"  - split: {split}\n    path: {path}\n" for split, path in files.items())
    (folder / "README.md").write_text(
        f"---\nconfigs:\n- config_name: {config}\n  data_files:\n{splits}---\n# Data\n"
    )
