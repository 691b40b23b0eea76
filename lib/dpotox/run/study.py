"""The study as one object: what each step gives, made when it is first asked for and kept.

    study = open_study("mini", seed=0)
    study.neurons          # trains, fits, reads whatever is missing, then loads the table

The order of the steps is the order of the properties below. Here is what each step needs, where it is
kept, and which settings it depends on; how it is made is in `dpotox.run.steps`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from jaxtyping import Float, Int
from nnsight import TransformersModel
from safetensors.torch import load_file
from torch import Tensor

from dpotox.errors import UserError
from dpotox.inputs import data
from dpotox.inputs.scoring import Score, load_scorer
from dpotox.model import models, tracing
from dpotox.paper import claims, evidence, nulls, probe, readings, table1
from dpotox.paper.evaluation import OUTCOMES, Exam, Result, exam_windows, load_result
from dpotox.paper.groups import group_table
from dpotox.paper.neurons import resampled_neuron_tables
from dpotox.profile import EMBEDDED, Compute, Profile, load_profile
from dpotox.run import artifacts, steps
from dpotox.run.identity import file_identity, step_settings
from dpotox.show import step_through
from dpotox.show.masking import Mask

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PROJECT = Path(__file__).parents[3]
OUTPUT = Path(os.environ.get("DPOTOX_OUTPUT") or PROJECT).resolve()
"""The folder of `artifacts/` and `_build/`: the project's own, unless the environment names another."""
STEPS = (
    "base",
    "probe",
    "pairs",
    "dpo_folder",
    "readings",
    "neurons",
    "nulls",
    "table1",
    "summary",
    "step_through",
    "nearest_tokens",
    "claims",
)
"""The steps in their order."""


def open_study(profile: str = "mini", seed: int = 0, artifacts: str | Path = "") -> Study:
    """The study of a profile (name or path) and a seed.

    Args:
        artifacts: where everything made is kept; `artifacts/` in `OUTPUT` if not given.

    Raises:
        UserError: the profile is unknown or wrong, or the seed is negative.
    """
    if not isinstance(seed, int) or seed < 0:
        raise UserError(f"the seed is {seed!r}; give a whole number from 0")
    loaded = load_profile(profile)
    root = Path(artifacts) if artifacts else OUTPUT / "artifacts"
    models.device_of(loaded.compute)  # sets the thread count before anything is computed
    return Study(loaded, seed, root / loaded.name / f"seed{seed}")


@dataclass(frozen=True)
class Study:
    """All steps of one profile and seed; see the module's docstring."""

    profile: Profile
    seed: int
    folder: Path

    # Step 1: the model under study

    @cached_property
    def base_folder(self) -> Path:
        """The model pre-trained here: weights, tokenizer, curve and loss report."""
        given = self.profile.pretraining.texts
        texts = data.pretraining_texts(self.profile) if given else None
        make = partial(steps.make_base, texts=texts)
        return self._keep("base", make, code=["pretraining"], sections=["pretraining"], content=repr(texts))

    @cached_property
    def tokenizer(self):
        """The tokenizer of the model under study."""
        model = self.profile.model
        if model.base == EMBEDDED:
            return models.load_tokenizer(self.base_folder)
        revision = model.tokenizer_revision if model.tokenizer else model.revision
        return models.load_tokenizer(model.tokenizer or model.base, revision)

    @cached_property
    def base(self) -> TransformersModel:
        """The model before DPO, ready for tracing."""
        return models.traced(self.base_network(self.profile.compute), self.tokenizer)

    def base_network(self, compute: Compute) -> PreTrainedModel:
        """The same without nnsight, on the device and in the precision asked for."""
        model = self.profile.model
        source = self.base_folder if model.base == EMBEDDED else model.base
        network = models.load_network(source, model.revision, compute)
        models.check_vocabulary(network, self.tokenizer)
        return network

    @cached_property
    def score(self) -> Score:
        """The function that says how toxic texts are."""
        return load_scorer(self.profile, self.seed, self.folder.parent.parent)

    def mask(self, show_toxic: bool = False) -> Mask:
        """What hides the toxic words of a text, or leaves it as it is with `show_toxic`."""
        return Mask(self.score, self.profile.scorer.mask_from, show_toxic)

    @cached_property
    def second_score(self) -> Score | None:
        """Another such function, if the profile names one, to see how much depends on the first."""
        if not self.profile.scorer.second:
            return None
        return load_scorer(self.profile, self.seed, self.folder.parent.parent, second=True)

    # Step 2: the toxic direction

    @cached_property
    def probe(self) -> probe.Probe:
        """The toxic direction, fitted to comments or given by the profile."""
        folder = self._keep(
            "probe",
            steps.make_probe,
            code=["probe", "data", "tracing"],
            sections=["model", "probe", "data.comments", "data.prompts", "sizes.comments"],
            after=["base"],
        )
        return probe.load(folder)

    @cached_property
    def shuffled_directions(self) -> Float[Tensor, "draw d_model"]:
        """Probes fitted to the same comments with their labels shuffled."""
        folder = self._keep(
            "shuffled-probes",
            steps.make_shuffled_directions,
            code=["probe"],
            sections=["probe", "nulls.shuffled_labels"],
            after=["probe"],
        )
        return load_file(folder / "directions.safetensors")["directions"]

    # Step 3: DPO

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Preference pairs: `prompt`, `chosen`, `rejected` and their toxicities."""
        texts = ["data.text", "data.pair_text", "data.pairs"]
        decides = {
            "code": ["pairs", "data", "scoring", "tracing"],
            "sections": ["model", "pairs", *texts, "scorer.name", "scorer.revision"],
            "after": ["base", "probe"],
        }
        make = partial(steps.make_pairs, settings=self._settings(**decides))
        folder = self._keep("pairs", make, **decides)
        return pd.read_parquet(folder / "pairs.parquet")

    @cached_property
    def dpo_folder(self) -> Path:
        """The weights after DPO and the training curves."""
        return self._keep("dpo", steps.make_dpo, **self._dpo_parts)

    @property
    def _dpo_parts(self) -> dict:
        after = [] if self.profile.model.dpo_checkpoint else ["pairs"]
        return {"code": ["dpo", "models"], "sections": ["model", "pairs", "dpo"], "after": ["base", *after]}

    def join_dpo(self) -> None:
        """Train as one of several processes, of which the first keeps the result (`dpotox.run.train_dpo`).

        Raises:
            UserError: the pairs are not made yet, and that is not for several processes at once.
        """
        several = int(os.environ.get("WORLD_SIZE", 1)) > 1
        if several and not (self.folder / "pairs" / "settings.json").exists():
            raise UserError(
                "the pairs are not made yet; make them in one process, with --prepare instead of accelerate"
            )
        if int(os.environ.get("RANK", 0)) == 0:
            _ = self.dpo_folder
        elif not artifacts.is_made(self.folder / "dpo", self._settings(**self._dpo_parts)):
            steps.make_dpo(self, artifacts.unfinished(self.folder / "dpo"))

    @cached_property
    def dpo(self) -> TransformersModel:
        """The model after DPO, ready for tracing."""
        return self._made_here(self.dpo_folder)

    def _made_here(self, folder: Path) -> TransformersModel:
        return models.traced(models.load_network(folder, "", self.profile.compute), self.tokenizer)

    @cached_property
    def dpo_curves(self) -> pd.DataFrame:
        """Loss, margin and accuracy by step; empty if a finished checkpoint was given."""
        kept = self.dpo_folder / "curves.parquet"
        return pd.read_parquet(kept) if kept.exists() else pd.DataFrame()

    # Steps 4 and 5: where DPO writes, and the neuron table

    @cached_property
    def prompts(self) -> list[str]:
        """The evaluation prompts, cut to the profile's length."""
        limit = self.profile.sizes.prompt_tokens
        positions = self.base.config.n_positions
        if limit + self.profile.sizes.new_tokens > positions:
            raise UserError(
                f"sizes.prompt_tokens + sizes.new_tokens is more than the model's {positions} positions; "
                "lower one of them"
            )
        prompts = data.evaluation_prompts(self.profile, self.seed)
        return tracing.cut(self.tokenizer, prompts, limit)

    @cached_property
    def readings(self) -> readings.Readings:
        """What was read while the models before and after DPO wrote."""
        folder = self._keep(
            "readings",
            steps.make_readings,
            code=["readings", "data"],
            sections=["model", "data.prompts", "sizes", "interventions.figure_top"],
            after=["probe", "dpo"],
        )
        return readings.load(folder)

    @cached_property
    def neurons(self) -> pd.DataFrame:
        """The neuron table, also written to `results/neurons.parquet`, and its groups to `groups.csv`.

        Beside the columns of `neuron_table` it has the means of what enters the GELU, and the change of the
        activation where both models read the text from before DPO.
        """
        table = self._table("neurons", steps.neurons, code=["steps"], sections=["model"], after=["readings"])
        self.save_result("neurons.parquet", table)
        self.save_result("groups.csv", group_table(table).reset_index())
        return table

    @cached_property
    def value_vectors(self) -> tuple[Float[Tensor, "layer neuron d_model"], ...]:
        """The value vectors before and after DPO."""
        return models.value_vectors(self.base), models.value_vectors(self.dpo)

    @cached_property
    def nearest_tokens(self) -> Int[Tensor, "layer neuron k"]:
        """The ids of the tokens nearest to every value vector before DPO, for the explorer."""
        folder = self._keep(
            "nearest-tokens",
            steps.make_nearest_tokens,
            code=["nearest"],
            sections=["model"],
            after=["base"],
        )
        return load_file(folder / "tokens.safetensors")["ids"]

    # Step 6: what the shares would be if there were nothing to find

    def placebo(self, kind: str) -> TransformersModel:
        """The model after DPO on preferences that are shuffled or reversed."""
        folder = self._keep(
            f"placebo-{kind}",
            partial(steps.make_placebo, kind=kind),
            code=["dpo", "models", "nulls"],
            sections=["model", "pairs", "dpo"],
            after=["dpo", "pairs"],
        )
        return self._made_here(folder)

    @cached_property
    def placebos(self) -> list[str]:
        """The kinds of placebos; none where a finished model was given, whose pairs are not known."""
        return [] if self.profile.model.dpo_checkpoint else self.profile.nulls.placebos

    @cached_property
    def nulls(self) -> nulls.Nulls:
        """What was read for the comparisons in which there is less, or nothing, to find."""
        folder = self._keep(
            "nulls",
            steps.make_nulls,
            code=["nulls", "dpo", "models"],
            sections=["model", "pairs", "dpo", "nulls.placebos", "data.prompts", "sizes"],
            after=["readings", *([] if self.profile.model.dpo_checkpoint else ["pairs"])],
        )
        return nulls.load(folder)

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """The groups' shares in every comparison of `paper.nulls`, also in `results/comparisons.csv`."""
        table = self._table(
            "comparisons",
            steps.comparisons,
            code=["nulls"],
            sections=["compute.neuron_bootstrap"],
            after=["nulls"],
        )
        self.save_result("comparisons.csv", table)
        return table

    @cached_property
    def other_directions(self) -> pd.DataFrame:
        """What follows from the neuron table along other directions: `kind` (random, shuffled labels)."""
        table = self._table(
            "other-directions",
            steps.other_directions,
            code=["nulls", "probe"],
            sections=["nulls.directions", "nulls.shuffled_labels", "probe"],
            after=["readings"],
        )
        self.save_result("other_directions.csv", table)
        return table

    # Step 7: ablation versus patching

    @cached_property
    def exam(self) -> Exam:
        """What models and interventions are examined on."""
        sizes, profile = self.profile.sizes, self.profile
        texts = data.plain_text(profile, self.seed), data.other_text(profile, self.seed)
        windows, neutral = exam_windows(self.tokenizer, *texts, sizes)
        beginnings, endings = zip(*data.references(profile, self.seed), strict=True)
        beginnings = tracing.cut(self.tokenizer, beginnings, sizes.prompt_tokens, keep_end=True)
        return Exam(
            prompts=self.prompts,
            windows=windows,
            neutral=neutral,
            references=list(zip(beginnings, endings, strict=True)),
            score=self.score,
            new_tokens=sizes.new_tokens,
            batch_size=profile.compute.batch_size,
            seed=self.seed,
            fewer_prompts=sizes.fewer_prompts,
        )

    @cached_property
    def outcomes(self) -> dict[str, Result]:
        """The models before and after DPO, examined without interventions (`evaluation.OUTCOMES`)."""
        folder = self._keep(
            "outcomes",
            steps.make_outcomes,
            code=["evaluation", "data", "scoring"],
            sections=["model", "data", "sizes", "scorer.name", "scorer.revision"],
            after=["dpo"],
        )
        return {name: load_result(folder / f"{name}.npz") for name in OUTCOMES}

    @cached_property
    def table1(self) -> table1.Table1:
        """The outcome of every row of table 1 and of our controls, by the row's name."""
        folder = self._keep(
            "table1",
            steps.make_table1,
            code=["table1", "rows", "data", "scoring"],
            sections=["model", "data", "sizes", "scorer.name", "scorer.revision", "interventions"],
            after=["readings", "outcomes"],
        )
        return table1.load(folder)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Table 1 with every measure and its interval, also in `results/table1.csv`."""
        table = self._table(
            "summary",
            lambda study: study.table1.summary(study.profile.compute.bootstrap),
            code=["table1"],
            sections=["compute.bootstrap"],
            after=["table1"],
        )
        self.save_result("table1.csv", table)
        return table

    @cached_property
    def second_table1(self) -> table1.Table1 | None:
        """Table 1 with greedy toxicity judged by the second scorer, if the profile names one."""
        return self.table1.rescored(self.second_score) if self.second_score else None

    @cached_property
    def step_through(self) -> pd.DataFrame:
        """A few continuations token by token (`per_token.make`), in `results/step_through.csv` masked."""
        table = self._table(
            "step_through",
            steps.step_through,
            code=["per_token", "data", "scoring"],
            sections=["model", "data.prompts", "sizes", "scorer.name", "scorer.revision", "interventions"],
            after=["readings"],
        )
        self.save_result("step_through.csv", step_through.masked_table(table, self.mask()))
        return table

    # Step 8: the claims

    @cached_property
    def toxicity(self) -> pd.DataFrame:
        """Toxicity of every prompt's greedy continuation: `base`, `ablated`, `dpo`."""
        texts = self.readings.continuations
        return pd.DataFrame({m: self.score(texts[m].tolist()) for m in ("base", "ablated", "dpo")})

    @cached_property
    def resampled_neuron_quantities(self) -> pd.DataFrame:
        """What follows from the neuron table, for bootstrap samples of prompts, one row each."""
        tables = resampled_neuron_tables(
            self.readings.base.activation,
            self.readings.dpo.activation,
            *self.value_vectors,
            self.probe.direction,
            draws=self.profile.compute.neuron_bootstrap,
            seed=self.seed,
        )
        top = self.profile.interventions.figure_top
        return pd.DataFrame(evidence.neuron_quantities(table, top) for table in tables)

    def claims_of(self, chapter: str) -> pd.DataFrame:
        """The claims table of one chapter; makes only the steps that the chapter needs."""

        def make(study: Study) -> pd.DataFrame:
            table = claims.judge(evidence.measure(study, chapter))
            return table[table["chapter"] == chapter].reset_index(drop=True)

        needs = {claims.NULLS: "nulls", claims.TABLE1: "table1", claims.CONTROLS: "table1"}
        return self._table(
            f"claims/{chapter}",
            make,
            code=["claims", "evidence", "scoring", "nulls"],
            sections=["compute", "interventions", "nulls", "scorer.name", "scorer.revision"],
            after=[needs.get(chapter, "readings")],
        )

    @cached_property
    def claims(self) -> pd.DataFrame:
        """The claims table, also written to `results/claims.json`."""
        table = pd.concat([self.claims_of(c) for c in claims.CHAPTERS], ignore_index=True)
        self.save_result("claims.json", table)
        return table

    # Keeping

    def save_result(self, name: str, table: pd.DataFrame) -> None:
        """Write a table to `results/` whole, as CSV, parquet or JSON by the name's ending."""
        artifacts.write_table(self.folder / "results" / name, table)

    def _table(self, name: str, make: Callable[[Study], pd.DataFrame], **decides) -> pd.DataFrame:
        """Keep a table as `_keep` keeps a folder."""

        def write(study: Study, folder: Path) -> None:
            make(study).to_parquet(folder / "table.parquet")

        return pd.read_parquet(self._keep(name, write, **decides) / "table.parquet")

    def _keep(
        self,
        name: str,
        make: Callable[[Study, Path], None],
        *,
        code: list[str],
        sections: list[str],
        after: list[str] = (),
        content: str = "",
    ) -> Path:
        """Keep a step's folder, made anew when its settings, files, code or earlier steps change."""
        settings = self._settings(code=code, sections=sections, after=after, content=content)
        return artifacts.keep(self.folder / name, settings, partial(make, self))

    def _settings(
        self, *, code: list[str], sections: list[str], after: list[str] = (), content: str = ""
    ) -> dict:
        """All that decides what a step makes."""
        made_of = {step: self._identity(step) for step in after}
        return step_settings(
            self.profile, self.seed, code=code, sections=sections, content=content, made_of=made_of
        )

    def identity(self) -> str:
        """What all results were made with, as a hash."""
        second = self.profile.scorer.second
        path = f"{second.partition('.py:')[0]}.py" if ".py:" in second else second
        return f"{self._identity('table1')} {file_identity(path)} {self.profile!r}"

    def _identity(self, step: str) -> str:
        """What an earlier step was made with, as a hash; makes the step if it is missing."""
        if step == "base" and self.profile.model.base != EMBEDDED:
            return file_identity(self.profile.model.base)
        getattr(self, {"base": "base_folder", "dpo": "dpo_folder"}.get(step, step))
        return sha256((self.folder / step / "settings.json").read_bytes()).hexdigest()[:16]
