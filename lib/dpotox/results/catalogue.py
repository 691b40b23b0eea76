"""The tables of `results/`: what each is, and for each column its type, its unit and what it means."""

from __future__ import annotations

import pandas as pd

from dpotox.estimates import RESAMPLED
from dpotox.facts import (
    BEST_OF,
    BY_STRENGTH,
    CONTROL,
    COPIED,
    EVERY,
    PARTS,
    PLACEBO,
    RANDOM,
    RANKINGS,
    RATIO,
    RELEARNT,
    SET_BACK,
    TRAINED_ON,
    UNCHANGED,
)
from dpotox.paper.groups import GROUPS
from dpotox.results.schema import Table, column, interval, label, number, text, whole

STREAM = "residual stream"
"""The unit of projections: the length of a vector in the residual stream."""
VALUE = {
    "value": number("the value", empty=True),
    "low": number("lower end of its 95 % interval", empty=True),
    "high": number("upper end of its 95 % interval", empty=True),
}
NEURON = {"layer": whole("its layer, from 0"), "neuron": whole("its place in the layer, from 0")}
WRITERS = ("embeddings", "attention", "MLP", "norm")

_ALL = (
    Table("neurons.parquet", key=("layer", "neuron"), most=2_000_000, whole=True).of(
        "The neuron table: a row per neuron.",
        **NEURON,
        cosine=number("cosine of the value vector before DPO with the probe"),
        post_cosine=number("the same after DPO"),
        pre_activation=number("mean activation over new tokens before DPO"),
        post_activation=number("the same after DPO"),
        pre_value_projection=number("projection of the value vector on the unit probe before DPO", STREAM),
        post_value_projection=number("the same after DPO", STREAM),
        pre_projection=number("what it writes along the probe before DPO", STREAM),
        post_projection=number("the same after DPO", STREAM),
        projection_drop=number("how much less that is after DPO", STREAM),
        activation_change=number("mean activation after DPO minus before"),
        group=label("its group by the activation change", *GROUPS),
        group_by_projection=label("its group by the projection change", *GROUPS),
        pre_gelu_input=number("mean of what enters the GELU before DPO"),
        post_gelu_input=number("the same after DPO"),
        same_text_change=number("activation change where both models read the text from before DPO"),
    ),
    Table("groups.csv", key=("group",)).of(
        "The eight groups of neurons.",
        group=label("the group", *GROUPS),
        count=whole("its neurons"),
        projection_drop=number("sum of their projection drops", STREAM),
        share_of_gross=number("its share of the gross reduction; of reducing groups", empty=True),
        share_of_net=number("its share of the net reduction", empty=True),
    ),
    Table("evidence.csv", key=("quantity",)).of(
        "Every quantity that the claims are about; verdicts follow from it and the rules.",
        quantity=label("the quantity"),
        **VALUE,
        resampled=label("what was drawn again for the interval", *RESAMPLED),
    ),
    Table("comparisons.csv", key=("comparison", "quantity")).of(
        "The groups' quantities in each comparison of two models or texts.",
        comparison=label("what is compared"),
        place=label("on which text, or nothing", "own", "sampled", "same", "after", "nothing"),
        sign=column(int, "-1 where the probe was turned, so that the net is a reduction"),
        quantity=label("the quantity"),
        **VALUE,
        toxicity=number("greedy toxicity of what the second model wrote of its own", empty=True),
    ),
    Table(
        "other_directions.csv",
        more=number("a quantity of the neuron table along it", empty=True),
        most=20_000,
        whole=True,
    ).of(
        "The groups' quantities along directions that mean nothing: a row per direction.",
        kind=label("where it is from", "random", "matched", "shuffled labels"),
        text=label("each model on its own text, or both on the same", "own", "same"),
    ),
    Table("table1.csv", key=("name",)).of(
        "Table 1: a row per model and edit.",
        name=label("the row's name"),
        model=label("the model that is edited", "base", "dpo"),
        kind=label("the kind of edit"),
        which=label("what is edited"),
        positions=label("where the edit acts", "all", "newest"),
        neurons=whole("how many neurons are edited"),
        published=label("the row's name in the paper's table, if it has one"),
        of_all_neurons=number("their share of all neurons"),
        **interval("recovered", "share of DPO's effect on greedy toxicity"),
        **interval("recovered_sampled", "share of DPO's effect on sampled toxicity"),
        **interval("toxicity", "mean toxicity of greedy continuations"),
        **interval("sampled_toxicity", "mean toxicity of sampled continuations"),
        **interval("above_half", "share of greedy continuations of a toxicity above .5"),
        **interval("perplexity", "perplexity on neutral text"),
        **interval("perplexity_all", "perplexity on all text"),
        **interval("f1", "F1 of continuations against the true ones"),
        **interval("repetition", "share of word pairs that occurred before in the continuation"),
    ),
    Table("draws.csv", needs="draws").of(
        "Rows of table 1 beside random choices, on the prompts of the draws.",
        row=label("the row"),
        drawn=label("what was drawn"),
        draws=whole("how often"),
        own=number("the row's own share, on the same prompts", empty=True),
        mean=number("mean share of DPO's effect of the draws", empty=True),
        least=number("the least of them", empty=True),
        most=number("the most of them", empty=True),
        reach=number(
            "the share of draws that recover as much as the row, or undo as much after DPO", empty=True
        ),
        **interval("beyond", "the row's share minus the draws' mean"),
    ),
    Table("second_scorer.csv", needs="second-scorer", key=("row",)).of(
        "Rows of table 1 as the second scorer judges the same continuations.",
        row=label("the row"),
        toxicity=number("greedy toxicity by the second scorer"),
        rank_correlation=number("Spearman's, of the two scorers over prompts", empty=True),
        **interval("recovered", "share of DPO's effect by the second scorer"),
    ),
    Table("outcomes.csv", key=("measure",)).of(
        "The models before and after DPO: a row per measure.",
        measure=label("what is measured"),
        **interval("before", "before DPO"),
        **interval("after", "after DPO"),
    ),
    Table("prompts.csv", key=("number",), most=1_000_000, whole=True).of(
        "The evaluation prompts by their numbers, and what was written after each.",
        number=whole("the prompt's number, from 0"),
        before=number("toxicity of the greedy continuation before DPO"),
        ablated=number("with the most toxic neurons ablated"),
        after=number("after DPO"),
        first_other_token=number("the first new token, from 1, that DPO changes", empty=True),
    ),
    Table("layers.csv", key=("part", "model", "layer"), most=10_000).of(
        "What is along the probe in each layer, over prompts.",
        part=label("what is projected on it", "MLP output", "residual stream"),
        model=label("in which model", "before", "ablated", "after"),
        layer=whole("the layer, from 0"),
        value=number("mean projection on the unit probe", STREAM),
        reach=number("half the width of its 95 % interval", STREAM),
    ),
    Table("writers.csv", key=("writer",)).of(
        "By how much less each kind of writer writes along the probe after DPO, over all layers.",
        writer=label("attention, MLPs, embeddings, or all"),
        own_text=number("each model on its own text", STREAM),
        same_text=number("both on the text from before DPO", STREAM),
    ),
    Table("offset_neurons.parquet", key=("layer", "neuron"), most=2_000_000, whole=True).of(
        "What enters the GELU of every neuron on the text from before DPO: by how much DPO moves it.",
        **NEURON,
        change=number("change of its mean by DPO"),
        upstream=number("the key vector before DPO times the shift of the MLP's mean input"),
        random=number("root mean square of the key times a random vector as long as the shift"),
    ),
    Table("offset_sets.csv", key=("comparison", "which")).of(
        "The same for sets of neurons, after DPO and after training on placebo preferences.",
        comparison=label("what was trained on"),
        which=label("the set of neurons"),
        neurons=whole("how many they are; of random draws, those that were drawn at all"),
        change=number("mean change of what enters their GELUs"),
        upstream_change=number("the shift upstream's part of that mean"),
        size=number("root mean square of the change"),
        upstream=number("share of the change by the shift upstream", empty=True),
        key=number("share by the turn of the keys", empty=True),
        bias=number("share by the biases; the three add up to 1", empty=True),
        left=number("size of the change without the shift's part, over its size", empty=True),
        times_random=number("size of the shift's part over that of a random shift", empty=True),
    ),
    Table("offset_writers.csv", key=("which", "writer", "layer"), most=10_000).of(
        "Who makes the shift of the MLPs' input, as sets of neurons read it: a row per writer.",
        which=label("the set of neurons"),
        writer=label("who writes; or the norm, for what it does otherwise", *WRITERS),
        layer=number("the writer's layer, from 0; of attention and MLPs", empty=True),
        share=number("share of what the shift makes of their GELU inputs; sums to 1", empty=True),
        mean=number("mean over the neurons of their keys times this part of the shift"),
    ),
    Table("offset_layers.csv", key=("layer",)).of(
        "How far DPO moves what the MLP of each layer reads in the mean.",
        layer=whole("the layer, from 0"),
        input=number("length of its mean input before DPO"),
        shift=number("length of the shift"),
        norm=number("length of the part that is the norm's, not the writers'"),
    ),
    Table("account.csv", key=("text", "layer", "part", "head"), most=100_000, optional=True).of(
        "Who writes less along the unit probe after DPO: rows that add up to the whole.",
        text=label("on which text: each model's own, or both on that from before DPO", "own", "same"),
        layer=number("its layer, from 0; of the embeddings none", empty=True),
        part=label("what writes", "embeddings", *PARTS),
        head=number("which head of attention, from 0; of other parts none", empty=True),
        drop=number("by how much less it writes", STREAM),
    ),
    Table("undone.csv", key=("undone", "part"), needs="causes", optional=True).of(
        "The same on the text from before DPO, with the weights of some blocks as they were before DPO.",
        undone=label("which blocks", "nothing", "MLPs", "attention"),
        part=label("what writes: heads, neurons or the rest"),
        drop=number("by how much less it writes", STREAM),
    ),
    Table("causes.csv", key=("writer", "layer", "number"), needs="causes", optional=True).of(
        "What single writers' changes do to the model before DPO, beside what they write along the probe.",
        writer=label("what writes", "head", "neuron", "heads of a layer", "neurons of a layer"),
        layer=whole("its layer, from 0"),
        number=number("which head or neuron, from 0; of a whole layer none", empty=True),
        predicted=number("by how much less it writes on the same text", STREAM),
        toxicity=number("by how much greedy toxicity falls"),
        low=number("lower end of its interval", empty=True),
        high=number("upper end", empty=True),
        log_probability=number("by how much that of toxic tokens falls, in nats", empty=True),
    ),
    Table("counts.csv", key=("kind", "ranked", "draw", "neurons"), needs="counts", optional=True).of(
        "How much of DPO's effect some neurons carry: the share of it that is there.",
        kind=label("copied into the model before DPO, or set back in the model after it", COPIED, SET_BACK),
        ranked=label("by what the neurons were ranked", *RANKINGS, RANDOM, EVERY),
        draw=whole("which random choice, else 0"),
        neurons=whole("how many"),
        recovered=number("the share of DPO's effect on greedy toxicity that is there", empty=True),
        low=number("lower end of its interval", empty=True),
        high=number("upper end", empty=True),
    ),
    Table("enough.csv", key=("kind", "ranked", "level"), needs="counts", optional=True).of(
        "At which share of all neurons that reaches a level.",
        kind=label("as in `counts.csv`", COPIED, SET_BACK),
        ranked=label("as there", *RANKINGS, RANDOM),
        level=number("the share of DPO's effect that is recovered, or left"),
        share=number("the share of all neurons; none where all do not reach it", empty=True),
        low=number("lower end of its interval", empty=True),
        high=number("upper end", empty=True),
    ),
    Table("without_training.csv", key=("way", "strength"), needs="untrained-edits", optional=True).of(
        "What ways to lower toxicity without training do to the model before DPO, beside DPO.",
        way=label("what is done", UNCHANGED, *BY_STRENGTH, BEST_OF, TRAINED_ON),
        strength=number("how strongly; of best of n how many samples"),
        **interval("toxicity", "mean toxicity of greedy continuations; of best of n of the chosen samples"),
        **interval("removed", "by how much it is less than before DPO, of best of n than in one sample"),
        **interval("perplexity", "perplexity on neutral text"),
        **interval("added", "by how much it is more than before DPO"),
        **interval("kl", "KL divergence from the model before DPO on neutral text", "nats per token"),
        **interval("f1", "F1 of continuations against the true ones"),
        second=number("mean toxicity of the same texts by the second scorer", empty=True),
        front=column(bool, "whether none of the others removes as much and adds as little perplexity"),
    ),
    Table("half_way.csv", key=("way",), needs="untrained-edits", optional=True).of(
        "The perplexity that each way adds where it removes half as much toxicity as DPO does.",
        way=label("what is done; last, what one adds over what another adds", *BY_STRENGTH, RATIO),
        value=number("perplexity added, or the ratio; none where no strength removes as much", empty=True),
        low=number("lower end of its 95 % interval", empty=True),
        high=number("upper end", empty=True),
    ),
    Table("relearning.csv", key=("run", "step"), needs="relearning", optional=True).of(
        "Fine-tuning on texts as DPO trains: what becomes of toxicity on the way.",
        run=label("which model is trained, and on what", RELEARNT, CONTROL, PLACEBO),
        step=whole("after how many steps; 0 is the untouched model"),
        **interval("toxicity", "mean toxicity of greedy continuations"),
        **interval("perplexity", "perplexity on neutral text, at the first and the last step"),
    ),
    Table("how_long.csv", key=("quantity",), needs="relearning", optional=True).of(
        "How soon DPO's effect is gone, and whether the probe reads on.",
        quantity=label("what is measured"),
        **VALUE,
        most=number("of steps: how many were tried, beyond which a value is not known", empty=True),
    ),
    Table("probes.csv", key=("probe",), needs="relearning", optional=True).of(
        "How well probes tell toxic comments that they were not fitted to, read by the models.",
        probe=label("the study's own, or one fitted anew to what each model reads"),
        **interval("before", "AUC, read by the model before DPO"),
        **interval("after", "AUC, read by the model after DPO"),
        **interval("difference", "the latter less the former"),
    ),
    Table("weight_change.csv", key=("parameters",)).of(
        "How far DPO moved the weights: a row per kind of parameter.",
        parameters=label("the kind"),
        change=number("length of the change over the length before", empty=True),
        cosine=number("cosine between before and after", empty=True),
    ),
    Table("directions.csv").of(
        "Directions and the tokens nearest to them, by the logit lens.",
        list=label("the list it stands in", "probe", "closest", "opposed", "projection"),
        vector=label("the probe, or a value vector as layer:neuron"),
        cosine=number("its cosine with the probe"),
        tokens=text("the nearest tokens, nearest first"),
        count=whole("how many tokens these are"),
        toxic=whole("how many of them are toxic on their own"),
    ),
    Table("probe_selection.csv", needs="fitted-probe").of(
        "The probe's regularisation strengths on the selection part.",
        C=number("inverse strength of the regularisation"),
        auc=number("AUC"),
        accuracy=number("accuracy"),
        chosen=column(bool, "whether the rule takes it"),
    ),
    Table("probe_calibration.csv", needs="fitted-probe").of(
        "The probe's probabilities on the report part, by deciles.",
        predicted=number("mean predicted probability"),
        observed=number("share of toxic comments"),
    ),
    Table("pretraining.csv", needs="made-here", most=100_000).of(
        "Loss of training batches while the model was pre-trained here.",
        step=number("training step"),
        loss=number("loss", "nats per token"),
    ),
    Table("dpo_curves.csv", needs="trained-dpo", most=100_000).of(
        "DPO's curves.",
        step=whole("training step"),
        split=label("which pairs", "train", "validation"),
        loss=number("DPO's loss", "nats", empty=True),
        margin=number("reward margin, scaled by beta", "nats", empty=True),
        accuracy=number("share of pairs with a positive margin", empty=True),
    ),
    Table("pair_yield.csv", needs="sampled-pairs").of(
        "How many preference pairs came of it, by the steering that the rejected continuation needed.",
        steering=label("the strength, or all"),
        pairs=whole("how many pairs"),
        of_tried=number("their share of the prompts tried"),
        chosen_toxicity=number("mean toxicity of the chosen continuation"),
        rejected_toxicity=number("mean toxicity of the rejected one"),
    ),
    Table("pair_examples.csv", needs="trained-dpo", whole=True).of(
        "The first preference pairs; toxic words that are not mild are masked.",
        prompt=text("the prompt"),
        chosen=text("the preferred continuation"),
        rejected=text("the other"),
    ),
    Table("continuations.csv", whole=True).of(
        "Greedy continuations of the first prompts; toxic words that are not mild are masked.",
        prompt=text("the prompt"),
        before=text("what follows before DPO"),
        after=text("after DPO"),
    ),
    Table("step_through.csv", key=("number", "condition", "step"), most=50_000, whole=True).of(
        "A few continuations, a row per token; toxic words that are not mild are masked.",
        number=whole("the prompt's number"),
        prompt=text("the prompt"),
        condition=label("the model or edit"),
        step=whole("the token's place, from 1"),
        token=text("its text"),
        token_id=whole("its number in the vocabulary"),
        projection=number("projection of the last residual stream where it is predicted", STREAM),
        toxicity=number("toxicity of the continuation up to it"),
    ),
    Table(
        "nearest_tokens.parquet", more=whole("the row of one that is less near"), most=2_000_000, whole=True
    ).of(
        "The tokens nearest to each value vector before DPO, nearest first: a row per neuron.",
        token_1=whole("row of the nearest in the table of tokens"),
    ),
    Table("tokens.csv", most=1_000_000, whole=True).of(
        "The tokens that are near some value vector; toxic ones that are not mild are masked.",
        text=text("the token's text"),
    ),
    Table("mild_words.csv", most=100_000, whole=True).of(
        "Mild words that the pages hide at first.",
        word=label("the word"),
    ),
)
TABLES = {table.name: table for table in _ALL}


def described() -> pd.DataFrame:
    """All columns of all tables, for people: `table`, `column`, `type`, `unit`, `meaning`."""
    rows = []
    for table in TABLES.values():
        there = f" Only where it holds: {table.needs}." if table.needs else ""
        rows.append({"table": table.file, "meaning": table.meaning + there})
        more = {"all others": table.more} if table.more else {}
        for name, one in (table.columns | more).items():
            kind = f"{one.dtype}{' or empty' if one.nullable else ''}"
            row = {"column": name, "type": kind, "unit": one.metadata["unit"]}
            rows.append(row | {"meaning": one.description})
    return pd.DataFrame(rows, columns=["table", "column", "type", "unit", "meaning"]).fillna("")
