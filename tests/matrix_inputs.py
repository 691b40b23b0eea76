"""The input files of the matrix (`matrix.py`), in the formats that people have, in the generated language."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from random import Random

import torch
from repositories import save_comments, save_prompts, save_text
from transformers import AutoTokenizer, GPT2LMHeadModel

from dpotox.inputs.language import Language
from dpotox.inputs.pretraining import pretrain_into
from dpotox.profile import Pretraining


def write_inputs(folder: Path) -> None:
    """All input files of the cases, in the generated language, and a tiny model to be given."""
    folder.mkdir(parents=True)
    language, rng = Language(), Random("matrix")
    documents = [language.sample(rng) for _ in range(2_200)]
    texts = [" ".join(document.words) for document in documents]
    with (folder / "comments.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["comment_text", "toxic", "insult"])
        rows.writerows([t, int(language.toxicity(t) >= 0.5), 0] for t in texts[:1_000])
    (folder / "text.txt").write_text("\n".join(texts[1_000:2_000]), encoding="utf-8")
    (folder / "held-out.txt").write_text("\n".join(texts[2_000:]), encoding="utf-8")
    hostile = [language.sample(rng, 40, 1.0).words for _ in range(60)]
    prompts = [{"prompt": {"text": " ".join(w[:10])}, "challenging": True} for w in hostile]
    _write_lines(folder / "prompts.jsonl", prompts)
    friendly = [language.sample(rng, 40, 0.0).words for _ in hostile]
    pairs = [
        {
            "prompt_text": " ".join(bad[:10]),
            "unpert_gen_text": " " + " ".join(good[10:22]),
            "pert_gen_text": " " + " ".join(bad[10:22]),
        }
        for good, bad in zip(friendly, hostile, strict=True)
    ]
    _write_lines(folder / "pairs.jsonl", pairs)
    (folder / "words.py").write_text(
        "def share_of_long_words(texts):\n"
        "    return [sum(len(w) > 5 for w in t.split()) / max(1, len(t.split())) for t in texts]\n"
    )
    write_model(folder, texts[:2_000])
    write_gated_model(folder, texts[:2_000])
    hub = folder / "hub"  # the same in the layout of `hub.Hub`
    for name in ("model", "gated"):
        shutil.copytree(folder / name, hub / "models" / "matrix" / name / "main")
    after = hub / "models" / "matrix" / "after" / "main"  # what authors may give beside their model
    after.mkdir(parents=True)
    for name in ("dpo.pt", "probe.pt"):
        shutil.copy(folder / name, after)
    data = hub / "datasets" / "matrix"
    save_comments(
        data / "comments" / "main", texts[:1_000], [language.toxicity(t) >= 0.5 for t in texts[:1_000]]
    )
    beginnings = [" ".join(words[:10]) for words in hostile]
    save_prompts(data / "prompts" / "main", beginnings, [True] * len(beginnings))
    save_text(data / "text" / "main", {"train": texts[1_000:2_000], "test": texts[2_000:]})


def _write_lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_gated_model(folder: Path, texts: list[str]) -> None:
    """A tiny Gemma 2 in a folder: gated MLPs, with norms behind them, and a tokenizer that knows chats."""
    settings = Pretraining(
        **{"family": "gemma2", "layers": 2, "d_model": 32, "heads": 2, "d_mlp": 64, "warmup_steps": 5},
        **{"passes": 3, "vocabulary": 600, "words": 40},
    )
    (folder / "gated").mkdir()
    pretrain_into(folder / "gated", settings, 0, texts, on_cpu=True, bf16=False)
    tokenizer = AutoTokenizer.from_pretrained(folder / "gated")
    tokenizer.chat_template = "{{ bos_token }}{% for turn in messages %}: {{ turn['content'] }} ;{% endfor %}"
    tokenizer.save_pretrained(folder / "gated")


def write_model(folder: Path, texts: list[str]) -> None:
    """A tiny GPT-2 in a folder, `dpo.pt` with moved weights, `same.pt` with the same, and `probe.pt`."""
    settings = Pretraining(
        layers=2, d_model=32, heads=2, d_mlp=64, warmup_steps=5, passes=3, vocabulary=600, words=40
    )
    (folder / "model").mkdir()
    pretrain_into(folder / "model", settings, 0, texts, on_cpu=True, bf16=False)
    state = GPT2LMHeadModel.from_pretrained(folder / "model").state_dict()
    torch.save({"state": state}, folder / "same.pt")
    torch.manual_seed(0)
    moved = {k: v + 0.1 * v.std() * torch.randn_like(v) if v.dim() > 1 else v for k, v in state.items()}
    torch.save({"state": moved}, folder / "dpo.pt")
    torch.save(torch.randn(1, settings.d_model), folder / "probe.pt")
