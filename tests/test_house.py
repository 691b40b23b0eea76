"""The order of the rooms, and what an edit of the code makes anew."""

import ast
from dataclasses import replace
from functools import cache

import pytest

from dpotox.places import PROJECT
from dpotox.profile import load_profile
from dpotox.run.keys import Keys
from dpotox.run.reach import Package, package

ROOMS = ("model", "inputs", "paper", "results", "show", "run")
"""Each knows those before it; all know the modules that lie beside them."""
LIBRARY = PROJECT / "lib" / "dpotox"


def imports(path):
    """The modules of this package that a file imports, but for the sake of types alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in node.body
    }
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and id(n) not in for_types]
    return [n.module for n in nodes if n.module and n.module.startswith("dpotox")]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_knows_only_those_before_it(room):
    after = ROOMS[ROOMS.index(room) + 1 :]
    wrong = {
        f"{path.name} imports {module}"
        for path in (LIBRARY / room).glob("*.py")
        for module in imports(path)
        if module.split(".")[1:2] and module.split(".")[1] in after
    }
    assert not wrong


@pytest.mark.parametrize("room", ["results", "show"])
def test_what_pages_are_made_of_needs_no_library_that_models_need(room):
    heavy = {"torch", "transformers", "nnsight", "trl", "accelerate", "datasets", "sklearn"}
    found = set()
    for path in (LIBRARY / room).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found |= {f"{path.name}: {name}" for name in names if name.split(".")[0] in heavy}
    assert not found


def test_what_lies_beside_the_rooms_knows_none_of_them():
    known = {module for path in LIBRARY.glob("*.py") for module in imports(path)}
    assert not {module for module in known if module.split(".")[1:2] and module.split(".")[1] in ROOMS}


def test_the_core_can_be_read_in_an_afternoon():
    core = [path for room in ("model", "paper") for path in (LIBRARY / room).glob("*.py")]
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in core) <= 3_450


# What an edit makes anew


def keys(sources: dict[str, str] | None = None, **sections) -> Keys:
    """The keys of `mini`, with other sources or other settings."""
    profile = load_profile("mini")
    for section, changes in sections.items():
        profile = replace(profile, **{section: replace(getattr(profile, section), **changes)})
    return Keys(profile, 0, Package(package().sources | (sources or {})))


@cache
def as_it_is() -> Keys:
    return keys()


def edited(path: str, name: str) -> dict[str, str]:
    """A module in which a function, or a class's method, ends with another statement."""
    tree = ast.parse(package().sources[path])
    node = tree
    for part in name.split("."):
        node = next(n for n in node.body if getattr(n, "name", "") == part)
    node.body.append(ast.parse("0").body[0])
    return {path: ast.unparse(tree)}


def remade(after: Keys) -> set[str]:
    """The steps that have another key."""
    return {step for step in after.code.steps if after.key(step) != as_it_is().key(step)}


def with_what_follows(first: set[str]) -> set[str]:
    """These steps and all that are made of them, by what stands beside a kept step."""
    found = set(first)
    for step in as_it_is().code.steps:  # in the order in which they are made
        if found & set(as_it_is().settings(step)["made of"]):
            found.add(step)
    return found


TRAINED = {"dpo_folder", "placebo_shuffled_folder", "placebo_reversed_folder"}
BEYOND = {"stream_changes", "streams_tried", "along", "relearning", "without_training"}
WRITTEN = {"results_folder"}
"""What the pages show."""
GROUPED = {"comparisons", "other_directions", "resampled_neuron_quantities", "neuron_evidence"}


@pytest.mark.parametrize(
    ("path", "name", "first"),
    [
        ("inputs/pretraining.py", "_architecture", {"base_folder"}),
        ("inputs/pretraining.py", "MuonAndAdamW.step", {"base_folder"}),
        ("inputs/data.py", "_embedded_comments", {"comments", "relearning", "comments_after"}),
        ("inputs/data.py", "references", {"outcomes", "table1", "causes", "tried", *BEYOND}),
        ("model/tracing.py", "mean_residuals", {"comments", "comments_after"}),
        ("model/tracing.py", "window_nll_and_kl", {"without_training"}),
        ("model/tracing.py", "window_nll", {"outcomes", "table1", "causes", "along", "relearning"}),
        ("model/logit_lens.py", "nearest_token_ids", {"nearest_tokens"}),
        ("model/logit_lens.py", "along_the_probe", {"directions"}),
        ("model/weights.py", "shape", {"shape"}),
        ("model/weights.py", "weight_change", {"weight_change"}),
        ("paper/probe.py", "class_gap", {"probe"}),
        ("paper/probe.py", "shuffled_directions", {"shuffled_directions"}),
        ("paper/pairs.py", "_sample", {"pairs"}),
        ("paper/dpo.py", "_token_ids", TRAINED),
        ("paper/nulls.py", "placebo_pairs", (TRAINED - {"dpo_folder"}) | {"objectives_folder"}),
        ("paper/groups.py", "shares", GROUPED | {"along", "objective_trials"}),
        ("paper/evaluation.py", "token_f1", {"outcomes", "table1", "without_training"}),
        ("paper/table1.py", "Table1.summary", {"summary"}),
        ("paper/table1.py", "Table1.beyond_draws", {"table1_evidence", "offset_evidence"}),
        ("model/streams.py", "read_streams", {"streams"}),
        ("run/offset.py", "by_writer", {"offset_writers"}),
        ("run/causes.py", "one_without_the_other", {"undone"}),
        ("run/causes.py", "toxic_tokens", {"causes"}),
        ("run/counts.py", "orders", {"tried"}),
        ("run/counts.py", "reached", WRITTEN),
        ("run/directions_tried.py", "spectrum", {"stream_changes"}),
        ("run/directions_tried.py", "random_basis", {"streams_tried"}),
        ("run/directions_tried.py", "holding", WRITTEN),
        ("run/beside.py", "divergence", {"along"}),
        ("run/along.py", "blend", {"along"}),
        ("run/along.py", "quarters", WRITTEN),
        ("paper/objectives.py", "orpo", {"objectives_folder"}),
        ("run/stopping.py", "Until.on_step_end", {"objectives_folder"}),
        ("run/matching.py", "next_rate", {"objectives_folder"}),
        ("run/objectives.py", "quantities", {"objective_trials"}),
        ("run/objectives.py", "compared", WRITTEN),
        ("run/without_training.py", "edited_neurons", {"without_training"}),
        ("run/costs.py", "cost_at", WRITTEN),
        ("run/fine_tuning.py", "fine_tune", {"relearning"}),
        ("run/relearning.py", "texts_of", {"relearning"}),
        ("run/lasting.py", "came_back", WRITTEN),
        ("run/per_token.py", "pieces", {"step_through"}),
        ("paper/evidence.py", "residual_evidence", {"residual_evidence"}),
        ("estimates.py", "around", {"comparisons", "neuron_evidence", "offset_evidence"}),
        ("estimates.py", "rank", {"null_evidence"}),
        ("estimates.py", "largest", {"table1_evidence"}),
        ("estimates.py", "over_seeds", set()),
        ("results/claims.py", "chance", set()),
        ("results/claims.py", "judge", WRITTEN),
        ("results/folder.py", "write_table", WRITTEN),
        ("results/record.py", "settings_of", WRITTEN),
        ("run/tables.py", "continuations", WRITTEN),
        ("inputs/masking.py", "Masking.texts", WRITTEN),
        ("results/seeds.py", "claims_by_seed", set()),
        ("results/pack.py", "opened", set()),
        ("show/explorer.py", "data_script", set()),
        ("show/report.py", "number", set()),
        ("show/masking.py", "Mask.html", set()),
        ("show/answers.py", "dpo", set()),
        ("run/pages.py", "build_pages", set()),
        ("progress.py", "bar", set()),
    ],
)
def test_an_edit_deep_below_a_step_makes_it_anew_with_what_follows_and_nothing_else(path, name, first):
    assert remade(keys(edited(path, name))) == with_what_follows(first)


def test_comments_docstrings_and_formatting_make_nothing_anew():
    sources = {}
    for path, text in package().sources.items():
        if path.endswith(".py"):
            tree = ast.parse(text)
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
                    node.body[0].value.value = "Another text."
            sources[path] = ast.unparse(tree)
    assert not remade(keys(sources))


@pytest.mark.parametrize(
    ("section", "changes", "first"),
    [
        ("compute", {"threads": 1, "batch_size": 7, "processes": 1}, set()),
        (
            "compute",
            {"bootstrap": 10},
            {
                "dpo_evidence",
                "residual_evidence",
                "null_evidence",
                "table1_evidence",
                "offset_evidence",
                "summary",
                "causes",
            },
        ),
        ("dpo", {"steps": 3}, TRAINED | {"relearning"}),
        ("pretraining", {"rows": 64}, {"base_folder"}),
        ("nulls", {"directions": 3}, {"other_directions"}),
        ("beyond", {"strengths": [1.0]}, {"without_training"}),
        ("beyond", {"relearning_steps": [1]}, {"relearning"}),
        ("scorer", {"mask_from": 0.3}, WRITTEN),
        ("scorer", {"second": ""}, WRITTEN),
    ],
)
def test_a_setting_makes_anew_what_reads_it_and_what_follows(section, changes, first):
    assert remade(keys(**{section: changes})) == with_what_follows(first)


def test_another_language_is_another_study():
    text = package().sources["inputs/languages/rich.toml"]
    sources = {
        "inputs/languages/rich.toml": text + "\n# a comment counts, as only its reader knows what does not\n"
    }
    assert remade(keys(sources)) == set(package().steps)


def test_a_notebook_is_made_anew_by_what_it_uses_alone():
    reads = "from dpotox.results.folder import open_results\nreport.number(open_results().table1)"
    makes = "study = 1\nreport.number(study.summary)"

    def script(text: str, sources=None):
        return keys(sources).of_script(f"from dpotox.show import report\n{text}")

    for text, by_summary, by_reading in ((reads, False, True), (makes, True, False)):
        assert script(text, edited("show/report.py", "number")) != script(text)
        assert script(text, edited("show/explorer.py", "page")) == script(text)
        summary = script(text, edited("paper/table1.py", "Table1.summary"))
        assert (summary != script(text)) == by_summary
        reading = script(text, edited("results/folder.py", "read_table"))
        assert (reading != script(text)) == by_reading


def test_the_steps_are_those_of_the_study_in_their_order():
    steps = package().steps
    assert steps[0] == "base_folder"
    assert steps[-1] == "results_folder"
    assert {"shape", "directions", "weight_change"} < set(steps)
    assert {"shape", "directions", "weight_change"} < set(as_it_is().settings("results_folder")["made of"])
