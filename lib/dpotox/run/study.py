"""The study as one object: what each step gives, made when it is first asked for and kept.

    study = open_study("mini", seed=0)
    study.neurons          # trains, fits, reads whatever is missing, then loads the table

Every step stands here in their order: a method, or a function of the study in the module of what it is about.
What a step needs, which settings and which code decide it follows from its source (`dpotox.run.reach`); how
it is kept is the format named with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from jaxtyping import Float, Int
from nnsight import TransformersModel
from torch import Tensor

from dpotox.estimates import Evidence
from dpotox.facts import placebos
from dpotox.inputs import data, networks, sources
from dpotox.inputs.masking import Masking
from dpotox.inputs.windows import added_by_chat
from dpotox.model import architecture, logit_lens, tracing, weights
from dpotox.paper import evidence, neurons, nulls, probe, readings, selections, table1_evidence
from dpotox.profile import EMBEDDED, Compute, Pairs, Profile
from dpotox.run import (
    along,
    causes,
    counts,
    directions_tried,
    kept,
    lasting,
    matching,
    objectives,
    offset,
    per_token,
    reading,
    relearning,
    scores,
    table1_jobs,
    training,
    without_training,
)
from dpotox.run.artifacts import step
from dpotox.run.plan import Plan, open_plan
from dpotox.run.tables import write_results

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def open_study(profile: str = "mini", seed: int = 0, artifacts: str | Path = "") -> Study:
    """The study of a profile and a seed (`open_plan`).

    Raises:
        UserError: the profile is unknown or wrong, or the seed is negative.
    """
    plan = open_plan(profile, seed, artifacts)
    networks.device_of(plan.profile.compute)  # sets the thread count before anything is computed
    return Study(plan)


@dataclass(frozen=True)
class Study:
    """All steps of one profile and seed; see the module's docstring."""

    plan: Plan

    @property
    def profile(self) -> Profile:
        """What is run."""
        return self.plan.profile

    @property
    def seed(self) -> int:
        """What all that is drawn follows from."""
        return self.plan.seed

    @property
    def folder(self) -> Path:
        """Where the steps are kept."""
        return self.plan.folder

    # Step 1: the model under study

    @step(kept.FOLDER)
    def base_folder(self, folder: Path) -> Path:
        """The model pre-trained here: weights, tokenizer, curve and loss report."""
        from dpotox.inputs import pretraining  # trainers are slow to import, here and below

        settings, bf16 = self.profile.pretraining, self.profile.compute.dtype == "bfloat16"
        texts = data.pretraining_texts(self.profile) if self.profile.pretraining.texts else None
        pretraining.pretrain_into(folder, settings, self.seed, texts, on_cpu=self.on_cpu, bf16=bf16)

    @property
    def on_cpu(self) -> bool:
        """Whether it is computed on a processor."""
        return networks.device_of(self.profile.compute).type == "cpu"

    @cached_property
    def tokenizer(self):
        """The tokenizer of the model under study."""
        model = self.profile.model
        if model.base == EMBEDDED:
            return networks.load_tokenizer(self.base_folder)
        revision = model.tokenizer_revision if model.tokenizer else model.revision
        return networks.load_tokenizer(model.tokenizer or model.base, revision)

    @cached_property
    def pair_lengths(self) -> Pairs:
        """To how many tokens pairs are cut for training; a chat template stands around prompts cut before."""
        pairs = self.profile.pairs
        more = added_by_chat(self.tokenizer) if self.profile.model.chat else 0
        return replace(pairs, prompt_tokens=pairs.prompt_tokens + more)

    @cached_property
    def given(self) -> TransformersModel:
        """The model before DPO, ready for tracing, its neurons' signs as they are."""
        model = self.profile.model
        served = model.base, model.revision
        network = self.base_network(self._compute)
        return architecture.traced(network, self.tokenizer, remote=model.remote, served=served)

    @cached_property
    def gated(self) -> bool:
        """Whether the sign of a neuron is a convention."""
        return architecture.architecture_of(self.given.config).gated

    @cached_property
    def base(self) -> TransformersModel:
        """The model before DPO, ready for tracing, every gated neuron turned towards the probe."""
        return self._turned(self.given)

    def _turned(self, model: TransformersModel) -> TransformersModel:
        if self.gated:
            architecture.turn(model, self.signs)
        return model

    @cached_property
    def signs(self) -> Float[Tensor, "layer neuron"]:
        """-1 where a value vector is to be turned for its cosine with the probe not to be negative."""
        return torch.where(
            weights.cosines(weights.value_vectors(self.given), self.probe.direction) < 0, -1.0, 1.0
        )

    @property
    def _compute(self) -> Compute:
        """Where the models lie: of those that run at NDIF what is brought back is on the processor."""
        compute = self.profile.compute
        return replace(compute, device="cpu", device_map="") if self.profile.model.remote is True else compute

    def base_network(self, compute: Compute) -> PreTrainedModel:
        """The same without nnsight, on the device and in the precision asked for."""
        model = self.profile.model
        source = self.base_folder if model.base == EMBEDDED else model.base
        network = networks.load_network(source, model.revision, compute)
        networks.check_vocabulary(network, self.tokenizer)
        return network

    @step(kept.TABLE)
    def shape(self) -> pd.DataFrame:
        """The model's shape, in one row."""
        return weights.shape(self.given)

    score = cached_property(scores.score_of)
    second_score = cached_property(scores.second_score_of)

    @cached_property
    def masking(self) -> Masking:
        """What hides the toxic words in texts that anyone may read."""
        return Masking(self.score, self.profile.scorer.mask_from)

    # Step 2: the toxic direction

    @step(kept.TENSORS)
    def comments(self) -> dict[str, Tensor]:
        """The comments that the probe is fitted to: `features` `(text, d_model)` and `toxic` `(text,)`.

        Features are the last layer's residual stream, averaged over each comment's tokens. The texts are not
        kept.
        """
        texts, toxic = data.comments(self.profile, self.seed)
        length, batch = self.profile.probe.max_tokens, self.profile.compute.batch_size
        features = tracing.mean_residuals(self.given, texts, max_tokens=length, batch_size=batch)
        return {"features": features, "toxic": torch.tensor(toxic)}

    @step(kept.PROBE)
    def probe(self) -> probe.Probe:
        """The toxic direction, fitted to comments or given by the profile."""
        features, toxic = self.comments["features"], self.comments["toxic"].numpy()
        fitted = probe.fit_probe(features, toxic, self.profile.probe, self.seed)
        if not self.profile.probe.path:
            return fitted
        path = sources.fetch(self.profile.probe.path, self.profile.probe.path_revision)
        given = networks.load_direction(path, features.shape[1])
        return probe.with_direction(fitted, given, features, toxic)

    @step(kept.TENSOR)
    def shuffled_directions(self) -> Float[Tensor, "draw d_model"]:
        """Probes fitted to the same comments with their labels shuffled."""
        features, toxic = self.comments["features"], self.comments["toxic"].numpy()
        draws = self.profile.nulls.shuffled_labels
        return probe.shuffled_directions(
            features, toxic, self.profile.probe, self.probe.C, draws=draws, seed=self.seed
        )

    @step(kept.TABLE)
    def directions(self) -> pd.DataFrame:
        """Value vectors that lie along the probe, and the tokens nearest to them (`logit_lens`)."""
        return logit_lens.along_the_probe(self.base, self.tokenizer, self.base_values, self.probe.direction)

    # Step 3: DPO

    pairs = step(kept.TABLE)(training.make_pairs)
    dpo_folder = step(kept.FOLDER, shared=True)(training.train_dpo_into)
    dpo_curves = cached_property(training.curves_of)

    @cached_property
    def dpo(self) -> TransformersModel:
        """The model after DPO, ready for tracing."""
        return self._made_here(self.dpo_folder)

    def _made_here(self, folder: Path) -> TransformersModel:
        model = self.profile.model
        served = model.aligned, model.aligned_revision
        network = networks.load_network(folder, "", self._compute)
        return self._turned(architecture.traced(network, self.tokenizer, remote=model.remote, served=served))

    @step(kept.TENSOR)
    def base_values(self) -> Float[Tensor, "layer neuron d_model"]:
        """The value vectors before DPO."""
        return weights.value_vectors(self.base)

    @step(kept.TENSOR)
    def dpo_values(self) -> Float[Tensor, "layer neuron d_model"]:
        """The value vectors after DPO."""
        return weights.value_vectors(self.dpo)

    @step(kept.TABLE)
    def weight_change(self) -> pd.DataFrame:
        """How far DPO moved each kind of parameter."""
        return weights.weight_change(self.base, self.dpo)

    @property
    def value_vectors(self) -> tuple[Float[Tensor, "layer neuron d_model"], ...]:
        """The value vectors before and after DPO."""
        return self.base_values, self.dpo_values

    # Steps 4 and 5: where DPO writes, and the neuron table

    prompts = cached_property(reading.prompts_of)
    readings = step(kept.READINGS, shared=True)(reading.read_models)

    @step(kept.TABLE)
    def neurons(self) -> pd.DataFrame:
        """The neuron table, with what enters the GELU and the change on the same text."""
        return readings.study_neurons(
            self.readings, *self.value_vectors, self.probe.direction, gated=self.gated
        )

    @step(kept.TENSOR)
    def nearest_tokens(self) -> Int[Tensor, "layer neuron k"]:
        """The ids of the tokens nearest to every value vector before DPO, for the explorer."""
        return logit_lens.nearest_token_ids(self.base, self.base_values)

    # Step 6: what the shares would be if there were nothing to find

    placebo_shuffled_folder = step(kept.FOLDER, shared=True)(training.train_shuffled_into)
    placebo_reversed_folder = step(kept.FOLDER, shared=True)(training.train_reversed_into)

    def placebo(self, kind: str) -> TransformersModel:
        """One of these models, ready for tracing."""
        shuffled = kind == "shuffled"
        return self._made_here(self.placebo_shuffled_folder if shuffled else self.placebo_reversed_folder)

    nulls = step(kept.NULLS, shared=True)(reading.read_nulls)

    @step(kept.TABLE)
    def comparisons(self) -> pd.DataFrame:
        """The groups' shares in every comparison of `paper.nulls`."""
        return nulls.comparisons(
            self.nulls,
            self.readings,
            *self.value_vectors,
            self.probe.direction,
            self._quantities,
            draws=self.profile.compute.neuron_bootstrap,
            seed=self.seed,
            gated=self.gated,
        )

    @property
    def _quantities(self) -> nulls.Measure:
        """What is measured of a neuron table."""
        return partial(evidence.neuron_quantities, top=self.profile.interventions.figure_top)

    @step(kept.TABLE)
    def other_directions(self) -> pd.DataFrame:
        """What follows from the neuron table along directions that mean nothing (`nulls.along`)."""
        n, d_model = self.profile.nulls.directions, len(self.probe.direction)
        directions = {
            "random": nulls.random_directions(n, d_model, self.seed),
            "matched": nulls.matched_directions(self.comments["features"], n, self.seed),
            "shuffled labels": self.shuffled_directions,
        }
        return nulls.along(directions, self.readings, *self.value_vectors, self._quantities, gated=self.gated)

    # Lee et al.'s explanation: a shift of what the MLPs read

    streams = step(kept.TENSORS)(offset.streams_of)
    offset_neurons = step(kept.TABLE)(offset.per_neuron)
    offset_sets = step(kept.TABLE)(offset.in_every_training)
    offset_writers = step(kept.TABLE)(offset.writers_of_sets)
    offset_layers = step(kept.TABLE)(offset.by_layer)
    offset = cached_property(offset.of_dpo)

    # Beyond the paper: all that write, and what their changes do

    undone = step(kept.TABLE)(causes.one_without_the_other)
    causes = step(kept.TABLE)(causes.measured)

    # Step 7: ablation versus patching

    exam = cached_property(table1_jobs.exam_of)
    outcomes = step(kept.RESULTS)(table1_jobs.examine_models)
    table1_rows = cached_property(table1_jobs.rows_of)
    table1_draws = cached_property(table1_jobs.draws_of)
    table1 = step(kept.TABLE1, shared=True)(table1_jobs.share_table1)

    tried = step(kept.TABLE, shared=True)(counts.tried)
    without_training = step(kept.TABLE, shared=True)(without_training.examined)
    relearning = step(kept.TABLE, shared=True)(relearning.relearnt)
    comments_after = step(kept.TENSOR)(lasting.comments_after)

    # Beyond the paper: in how many directions the change lies, and what lies on the way to DPO and past it

    stream_changes = step(kept.TENSORS)(directions_tried.changes_of)
    streams_tried = step(kept.TABLE, shared=True)(directions_tried.tried)
    along = step(kept.TENSORS, shared=True)(along.gone)
    # Beyond the paper: other objectives on the same pairs

    objectives_folder = step(kept.FOLDER, shared=True)(matching.train_all_into)
    objective_trials = step(kept.TENSORS, shared=True)(objectives.measure_all)

    def objective(self, name: str) -> TransformersModel:
        """A model trained by another objective, by its place in the folder, ready for tracing."""
        return self._made_here(self.objectives_folder / name)

    @step(kept.TABLE)
    def summary(self) -> pd.DataFrame:
        """Table 1 with every measure and its interval."""
        return self.table1.summary(self.profile.compute.bootstrap)

    step_through = step(kept.TABLE)(per_token.make)

    # Step 8: the claims

    @cached_property
    def toxicity(self) -> pd.DataFrame:
        """Toxicity of every prompt's greedy continuation: `base`, `ablated`, `dpo`."""
        texts = self.readings.continuations
        return pd.DataFrame({m: self.score(texts[m].tolist()) for m in ("base", "ablated", "dpo")})

    @step(kept.TABLE)
    def resampled_neuron_quantities(self) -> pd.DataFrame:
        """What follows from the neuron table, for bootstrap samples of prompts, one row each."""
        tables = neurons.resampled_neuron_tables(
            self.readings.base.activation,
            self.readings.dpo.activation,
            *self.value_vectors,
            self.probe.direction,
            draws=self.profile.compute.neuron_bootstrap,
            seed=self.seed,
            gated=self.gated,
        )
        return pd.DataFrame(self._quantities(table) for table in tables)

    @step(kept.EVIDENCE)
    def dpo_evidence(self) -> Evidence:
        """What DPO did to toxicity and to the value vectors."""
        before, after = (self.toxicity[m].to_numpy() for m in ("base", "dpo"))
        turned = evidence.turned(*self.value_vectors)
        return evidence.dpo_evidence(before, after, turned, self.profile.compute.bootstrap)

    @step(kept.EVIDENCE)
    def neuron_evidence(self) -> Evidence:
        """Quantities of the neuron table."""
        top = self.profile.interventions.figure_top
        chunks = len(self.readings.base.activation)
        return evidence.neuron_evidence(self.neurons, self.resampled_neuron_quantities, top, chunks)

    @step(kept.EVIDENCE)
    def residual_evidence(self) -> Evidence:
        """How the change along the probe divides between kinds of layers."""
        read = self.readings
        return evidence.residual_evidence(read.base, read.dpo_on_base, self.profile.compute.bootstrap)

    @step(kept.EVIDENCE)
    def null_evidence(self) -> Evidence:
        """Where the shares stand among those with nothing to find."""
        toxicity = {m: self.toxicity[m].to_numpy() for m in ("base", "dpo")}
        if "shuffled" in placebos(self.profile):
            toxicity["shuffled"] = self.score(self.nulls.texts["shuffled"])
        resamples = self.profile.compute.bootstrap
        return evidence.null_evidence(self.comparisons, self.other_directions, toxicity, resamples)

    @step(kept.EVIDENCE)
    def table1_evidence(self) -> Evidence:
        """Quantities of table 1."""
        return table1_evidence.table1_evidence(self.table1, self.profile.compute.bootstrap)

    @step(kept.EVIDENCE)
    def offset_evidence(self) -> Evidence:
        """What the shift of the MLPs' input explains, who makes it, and what hangs on it."""
        toxic = selections.most_toxic(self.neurons, self.profile.interventions.figure_top)
        draws, resamples = self.profile.compute.neuron_bootstrap, self.profile.compute.bootstrap
        found = offset.offset_evidence(self.streams, self.offset.weights, toxic, draws, self.seed)
        return found | offset.rows_evidence(self.table1, resamples)

    @property
    def evidence(self) -> Evidence:
        """All that the claims are about."""
        of_neurons = self.neuron_evidence | self.residual_evidence | self.offset_evidence
        return self.dpo_evidence | of_neurons | self.null_evidence | self.table1_evidence

    # What the pages show

    results_folder = step(kept.FOLDER)(write_results)
