"""What we take for granted of transformers, one idiom a test, against plain PyTorch.

After an update, the test that fails names what has changed, and its docstring where the library leans on it.
"""

import copy
from contextlib import nullcontext

import pytest
import torch
from plain import STEPS
from repositories import save_bert
from safetensors.torch import load_file, save_file
from torch.overrides import TorchFunctionMode
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    DynamicCache,
    GPT2Config,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    get_wsd_schedule,
    pipeline,
)
from transformers.initialization import no_init_weights

from dpotox.inputs.pretraining import MuonAndAdamW, _NoBfloat16
from dpotox.inputs.training_progress import show_progress
from dpotox.profile import Pretraining

EXACTLY = {"max_new_tokens": STEPS, "min_new_tokens": STEPS, "do_sample": False}


@pytest.fixture
def batch(model, prompts):
    """A left-padded batch."""
    model.tokenizer.padding_side = "left"
    padded = model.tokenizer(prompts, padding=True, return_tensors="pt")
    return {name: padded[name] for name in ("input_ids", "attention_mask")}


# GPT-2


def test_neurons_are_rows_of_the_down_projection_and_columns_of_the_up_projection(network):
    """`models.value_vectors`, `interventions.scale_keys`: weights are laid out as (from, to)."""
    mlp, seen = network.transformer.h[1].mlp, []
    x = torch.randn(1, 4, 16, generator=torch.Generator().manual_seed(0))
    with mlp.c_proj.register_forward_pre_hook(lambda _, args: seen.append(args[0])), torch.no_grad():
        written = mlp(x)
    assert mlp.c_proj.weight.shape == (24, 16)
    up = x @ mlp.c_fc.weight + mlp.c_fc.bias
    assert torch.allclose(seen[0], torch.nn.functional.gelu(up, approximate="tanh"), atol=1e-5)
    assert torch.allclose(written, seen[0] @ mlp.c_proj.weight + mlp.c_proj.bias, atol=1e-5)


def test_a_new_networks_activation_is_gpt2s_own_in_another_form(network):
    """`pretraining._architecture`: `gelu_pytorch_tanh` for `gelu_new`."""
    config = GPT2Config(**network.config.to_dict() | {"activation_function": "gelu_pytorch_tanh"})
    twin = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    twin.load_state_dict(network.state_dict())
    ids = torch.tensor([[0, 5, 6, 7]])
    assert type(twin.transformer.h[0].mlp.act) is not type(network.transformer.h[0].mlp.act)
    with torch.no_grad():
        assert torch.allclose(twin(ids).logits, network(ids).logits, atol=1e-3)


def test_a_cache_and_positions_let_a_text_be_read_piece_by_piece(network, batch):
    """`edits.ReadAlong`: `DynamicCache` grows by itself; the mask covers what was read before."""
    ids, mask = batch["input_ids"], batch["attention_mask"]
    positions, cache, parts = (mask.cumsum(-1) - 1).clamp(min=0), DynamicCache(), []
    with torch.no_grad():
        whole = network(ids, attention_mask=mask, position_ids=positions).logits
        for piece in (slice(0, 9), slice(9, 10), slice(10, 12)):
            assert cache.get_seq_length() == piece.start
            parts.append(
                network(
                    ids[:, piece],
                    attention_mask=mask[:, : piece.stop],
                    position_ids=positions[:, piece],
                    past_key_values=cache,
                    use_cache=True,
                ).logits
            )
    there = mask.bool()
    assert torch.allclose(torch.cat(parts, 1)[there], whole[there], atol=1e-4)


# Generation


def test_a_left_padded_batch_is_continued_as_each_prompt_is(network, model, batch, prompts):
    """`generation.batches`: no result depends on the batch."""
    with torch.no_grad():
        together = network.generate(**batch, **EXACTLY)[:, -STEPS:]
        for tokens, prompt in zip(together, prompts, strict=True):
            alone = network.generate(**model.tokenizer(prompt, return_tensors="pt"), **EXACTLY)
            assert torch.equal(tokens, alone[0, -STEPS:])


def test_the_least_and_most_new_tokens_give_exactly_as_many_and_no_end_of_text(network, batch):
    """`generation.decoding`: every row has every step, whatever the model would rather write."""
    end = network.config.eos_token_id

    def end_it(_module, _args, logits):
        logits[..., end] += 1e4
        return logits

    with network.lm_head.register_forward_hook(end_it), torch.no_grad():
        tokens = network.generate(**batch, **EXACTLY)[:, batch["input_ids"].shape[1] :]
        free = network.generate(**batch, max_new_tokens=STEPS, do_sample=False)
    assert tokens.shape == (5, STEPS)
    assert not (tokens == end).any()
    assert free.shape[1] == batch["input_ids"].shape[1] + 1


def test_a_list_of_functions_has_the_last_word_on_the_next_token(network, batch):
    """`generation._GumbelNoise`, `_Forced`: called once a step, on scores of which the largest is taken."""
    seen = []

    def processor(input_ids, scores):
        seen.append((input_ids.shape[1], scores[:, network.config.eos_token_id].max().item()))
        return torch.zeros_like(scores).index_fill(1, torch.tensor([6 + len(seen)]), 1.0)

    with torch.no_grad():
        tokens = network.generate(**batch, **EXACTLY, logits_processor=[processor])[:, -STEPS:]
    length = batch["input_ids"].shape[1]
    assert seen == [(length + i, -torch.inf) for i in range(STEPS)]  # no end of text is already seen to
    assert tokens.tolist() == [list(range(7, 7 + STEPS))] * 5


# Files


def test_a_tensor_that_is_not_in_the_file_is_reported(network, tmp_path):
    """`models.load_network`, `scoring.classifier`: `output_loading_info` gives `missing_keys`."""
    network.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    _, found = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not found["missing_keys"]
    del tensors["transformer.h.1.mlp.c_fc.bias"]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    _, found = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert set(found["missing_keys"]) == {"transformer.h.1.mlp.c_fc.bias"}


def test_a_tokenizer_from_a_folder_begins_texts_and_pads_as_it_did(model, prompts, tmp_path):
    """`models.load_tokenizer`, `generation.batches`: `pad` takes ids, and pads on the left."""
    model.tokenizer.save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.padding_side = "left"
    ids = tokenizer(prompts, truncation=True, max_length=6)["input_ids"]
    assert ids == [row[:6] for row in model.tokenizer(prompts)["input_ids"]]
    assert {row[0] for row in ids} == {tokenizer.eos_token_id}
    padded = tokenizer.pad({"input_ids": ids}, return_tensors="pt")
    for row, there, own in zip(padded["input_ids"], padded["attention_mask"], ids, strict=True):
        assert row[-len(own) :].tolist() == own
        assert there.tolist() == [0] * (6 - len(own)) + [1] * len(own)


def test_a_classifier_gives_the_score_of_every_label(tmp_path):
    """`scoring.classifier`: `top_k=None` and `function_to_apply` of the pipeline."""
    network = save_bert(tmp_path / "bert")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "bert")
    classify = pipeline("text-classification", model=network, tokenizer=tokenizer, top_k=None)
    texts = ["the soup seems spicy .", "another oven"]
    results = classify(texts, batch_size=2, truncation=True, function_to_apply="sigmoid")
    for text, scores in zip(texts, results, strict=True):
        with torch.no_grad():
            expected = network(**tokenizer(text, return_tensors="pt")).logits[0].sigmoid()
        got = {entry["label"]: entry["score"] for entry in scores}
        for i, label in network.config.id2label.items():
            assert got[label] == pytest.approx(float(expected[i]), abs=1e-4)


# Networks of a shape


def test_a_network_is_made_without_drawing_its_weights(network, monkeypatch):
    """`measure.random_network`: that takes longest, and it gives it others."""
    drawn = []
    monkeypatch.setattr(torch.Tensor, "normal_", lambda self, *_, **__: drawn.append(self) or self)
    AutoModelForCausalLM.from_config(network.config)
    assert drawn
    drawn.clear()
    with no_init_weights():
        # It notes the precision in the configuration that it is given.
        made = AutoModelForCausalLM.from_config(copy.deepcopy(network.config), dtype=torch.bfloat16)
    made.tie_weights()
    assert not drawn
    assert {p.dtype for p in made.parameters()} == {torch.bfloat16}
    assert made.lm_head.weight is made.transformer.wte.weight


def test_a_network_of_a_shape_takes_no_memory_on_the_meta_device(network):
    """`measure.parameters`, `look_up`: a model is looked at before it is fetched."""
    with torch.device("meta"):
        made = AutoModelForCausalLM.from_config(network.config, attn_implementation="eager")
    assert {p.device.type for p in made.parameters()} == {"meta"}
    assert sum(p.numel() for p in made.parameters()) == sum(p.numel() for p in network.parameters())


# The trainer

SETTINGS = Pretraining(muon_lr=0.02, adamw_lr=0.01, muon_weight_decay=0.1)
TEXTS = [torch.tensor([0, *range(5 + i, 10 + i + i % 2)]) for i in range(8)]


def trainer_of(network, tokenizer, folder, optimizer, steps) -> Trainer:
    """As `pretraining.pretrain` makes it."""
    schedule = get_wsd_schedule(optimizer, num_warmup_steps=2, num_decay_steps=2, num_training_steps=steps)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=8,
        use_cpu=True,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        max_grad_norm=1.0,
    )
    return Trainer(
        network,
        arguments,
        train_dataset=[{"input_ids": row} for row in TEXTS],
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
        optimizers=(optimizer, schedule),
    )


@pytest.fixture
def untrained(network):
    """A copy without dropout, so that training can be followed by hand."""
    copied = copy.deepcopy(network).train()
    for module in copied.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return copied


def test_rows_are_padded_and_padding_is_not_learned(model):
    """`DataCollatorForLanguageModeling`: labels are the ids, but for the token that begins texts and pads."""
    made = DataCollatorForLanguageModeling(model.tokenizer, mlm=False)([{"input_ids": r} for r in TEXTS])
    for ids, there, labels, row in zip(*made.values(), TEXTS, strict=True):
        assert torch.equal(ids[there.bool()], row)
        assert labels[labels != -100].tolist() == row[1:].tolist()
    assert list(made) == ["input_ids", "attention_mask", "labels"]
    assert not made["attention_mask"].all()


def test_training_takes_the_steps_of_our_optimiser_and_schedule(untrained, model, tmp_path):
    """`pretraining.MuonAndAdamW`: accelerate replaces its groups, and the rate reaches both parts."""
    by_hand, before = copy.deepcopy(untrained), [p.detach().clone() for p in untrained.parameters()]
    optimizer = MuonAndAdamW(untrained, SETTINGS)
    trainer = trainer_of(untrained, model.tokenizer, tmp_path, optimizer, 4)
    with show_progress(trainer, "train"):
        trainer.train()
    matrices = [p for p in by_hand.transformer.h.parameters() if p.ndim == 2]
    rest = [p for p in by_hand.parameters() if all(p is not m for m in matrices)]
    muon = torch.optim.Muon(matrices, lr=0.02, weight_decay=0.1)
    adamw = torch.optim.AdamW(rest, lr=0.01, betas=(0.9, 0.98), weight_decay=0.0)
    batch = DataCollatorForLanguageModeling(model.tokenizer, mlm=False)([{"input_ids": r} for r in TEXTS])
    losses = []
    for factor in (0.0, 0.5, 1.0, 0.5):
        loss = by_hand(**batch).loss
        losses.append(loss.item())
        by_hand.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(by_hand.parameters(), 1.0)
        for part, rate in ((muon, 0.02), (adamw, 0.01)):
            part.param_groups[0]["lr"] = factor * rate
            with _NoBfloat16():
                part.step()
    history = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert history == pytest.approx(losses, abs=1e-3)
    for one, other, start in zip(untrained.parameters(), by_hand.parameters(), before, strict=True):
        assert (one - other).norm() < 0.05 * (other - start).norm()  # the rows' order decides some signs


class Rounded(TorchFunctionMode):
    """Within it, counts what comes out in bfloat16."""

    count = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.count += isinstance(result, torch.Tensor) and result.dtype == torch.bfloat16
        return result


@pytest.mark.parametrize("left_out", [False, True])
def test_muon_rounds_by_a_method_of_tensors_that_can_be_left_out(left_out):
    """`pretraining._NoBfloat16`: torch's Muon calls `Tensor.bfloat16`, and computes in what that gives."""
    weight = torch.nn.Parameter(torch.zeros(8, 4))
    weight.grad = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    with Rounded() as rounded, _NoBfloat16() if left_out else nullcontext():
        torch.optim.Muon([weight], lr=1.0, weight_decay=0.0).step()
    assert (rounded.count == 0) == left_out
    sizes = torch.linalg.svdvals(weight.detach())
    assert sizes.max() / sizes.min() < 2  # nearly orthogonal either way


def test_the_rate_rises_stays_and_falls(untrained, model, tmp_path):
    """`get_wsd_schedule`: a linear rise, a plateau, and a fall within the steps that are given."""
    rates = []

    class Noting(torch.optim.SGD):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])

    optimizer = Noting(untrained.parameters(), lr=1.0)
    trainer = trainer_of(untrained, model.tokenizer, tmp_path, optimizer, 6)
    with show_progress(trainer, "train"):
        trainer.train()
    assert rates == pytest.approx([0, 0.5, 1, 1, 1, 0.5])


def test_the_history_has_a_row_with_step_and_loss_for_every_logged_step(untrained, model, tmp_path):
    """`pretraining.pretrain`: the training curve."""
    optimizer = torch.optim.SGD(untrained.parameters(), lr=0.01)
    trainer = trainer_of(untrained, model.tokenizer, tmp_path, optimizer, 3)
    with torch.no_grad():
        first = untrained(**trainer.data_collator(trainer.train_dataset)).loss
    with show_progress(trainer, "train"):
        trainer.train()
    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert rows[0]["loss"] == pytest.approx(float(first), abs=1e-3)


def test_a_trainers_own_reports_are_taken_away_by_their_class(untrained, model, tmp_path, capsys):
    """`training_progress.show_progress`: one bar, told of every step, in place of tables."""
    optimizer = torch.optim.SGD(untrained.parameters(), lr=0.01)
    trainer = trainer_of(untrained, model.tokenizer, tmp_path, optimizer, 2)
    told = []
    trainer.add_callback(Told(told))
    with show_progress(trainer, "train"):
        trainer.train()
    assert capsys.readouterr().out == ""
    assert told == [("begin", 2), ("step", 1), ("log", True), ("step", 2), ("log", True)]


class Told(TrainerCallback):
    def __init__(self, told: list) -> None:
        self.told = told

    def on_train_begin(self, args, state, control, **kwargs):
        self.told.append(("begin", state.max_steps))

    def on_step_end(self, args, state, control, **kwargs):
        self.told.append(("step", state.global_step))

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            self.told.append(("log", float(logs["loss"]) > 0))


def test_one_process_is_kept_to_one_gpu(tmp_path):
    """`pretraining.pretrain`, `dpo._arguments`: `_n_gpu`, which multiplies the batch, can be set."""
    arguments = TrainingArguments(output_dir=str(tmp_path), per_device_train_batch_size=8, use_cpu=True)
    assert arguments.n_gpu == 0  # it is counted when it is first asked for, and not again
    arguments._n_gpu = 4
    assert arguments.train_batch_size == 4 * 8
    arguments._n_gpu = min(arguments.n_gpu, 1)
    assert arguments.n_gpu == 1
    assert arguments.train_batch_size == 8
