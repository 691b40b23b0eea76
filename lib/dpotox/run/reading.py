"""The steps that read models while they write: a pass for each, which an interrupted run finds again."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dpotox.errors import UserError
from dpotox.facts import placebos
from dpotox.inputs import data
from dpotox.inputs.windows import added_by_chat, cut, said_by_user
from dpotox.model import tracing, weights
from dpotox.paper import nulls, readings
from dpotox.run.artifacts import PARTS, part
from dpotox.run.kept import PASS
from dpotox.run.together import divide, world_size

if TYPE_CHECKING:
    from nnsight import TransformersModel

    from dpotox.run.study import Study


def prompts_of(study: Study) -> list[str]:
    """The evaluation prompts, cut to the profile's length, and as a user says them where it says so."""
    limit, chat = study.profile.sizes.prompt_tokens, study.profile.model.chat
    positions = study.given.config.max_position_embeddings
    more = added_by_chat(study.tokenizer) if chat else 0
    if limit + more + study.profile.sizes.new_tokens > positions:
        raise UserError(
            f"sizes.prompt_tokens + sizes.new_tokens is more than the model's {positions} positions"
            f"{f' less {more} for the chat template' if chat else ''}; lower one of them"
        )
    prompts = cut(study.tokenizer, data.evaluation_prompts(study.profile, study.seed), limit)
    return said_by_user(study.tokenizer, prompts) if chat else prompts


def _read(study: Study, folder: Path, name: str, model: TransformersModel, **options) -> readings.Pass:
    """A model read while it writes, greedily on its own text unless told otherwise.

    Kept as parts, in as many shares of the prompts as processes were started together.
    """
    of = world_size()
    places = [folder / PARTS / f"{name}, {one + 1} of {of}" for one in range(of)]

    def read(one: int) -> readings.Pass:
        return tracing.read_generation(
            model,
            study.prompts,
            study.profile.sizes.new_tokens,
            study.probe.direction,
            batch_size=study.profile.compute.batch_size,
            chunks=study.profile.sizes.chunks,
            share=(one, of),
            label=f"read {name}",
            **options,
        )

    divide(lambda one: part(places[one], PASS, partial(read, one)), of, name, "share")
    return tracing.whole([PASS.read(place) for place in places], study.tokenizer)


def read_models(study: Study, folder: Path) -> readings.Readings:
    """What was read while the models before and after DPO wrote."""
    top = study.profile.interventions.figure_top
    without = readings.ablate_most_toxic(study.base_values, study.probe.direction, top)
    read = partial(_read, study, folder)
    passes = {
        "base": read("base", study.base),
        "ablated": read("ablated", study.base, interventions=[without]),
        "dpo": read("dpo", study.dpo),
    }
    passes["dpo_on_base"] = read("dpo_on_base", study.dpo, forced=passes["base"][0].tokens)
    return readings.gathered(study.prompts, passes)


def read_nulls(study: Study, folder: Path) -> nulls.Nulls:
    """What was read for the comparisons in which there is less, or nothing, to find."""
    models = {kind: study.placebo(kind) for kind in placebos(study.profile)}
    after = study.readings.tokens["dpo"]
    once, again = ({"sampling_seed": 2 * study.seed + i} for i in (1, 2))
    asked = {
        "base sampled once": (study.base, once),
        "base sampled again": (study.base, again),
        "dpo sampled": (study.dpo, once),
        "base on the text of dpo": (study.base, {"forced": after}),
    } | {kind: (model, {}) for kind, model in models.items()}
    passes = {name: _read(study, folder, name, model, **options) for name, (model, options) in asked.items()}
    return nulls.gathered(passes, {kind: weights.value_vectors(model) for kind, model in models.items()})
