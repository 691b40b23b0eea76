import pytest

from dpotox.errors import UserError
from dpotox.profile import load_profile


def write(folder, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


def test_shipped_profiles_load_by_name():
    assert load_profile("mini").model.base == "embedded"
    assert load_profile("gpt2-medium").dpo.learning_rate == 1e-6


def test_a_file_is_named_after_itself_and_may_extend_a_shipped_profile(tmp_path):
    path = write(tmp_path, 'extends = "gpt2-medium"\n[sizes]\nprompts = 70\n')
    profile = load_profile(path)
    assert profile.name == "mine"
    assert profile.sizes.prompts == 70
    assert profile.sizes.prompt_tokens == load_profile("gpt2-medium").sizes.prompt_tokens


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[dpo]\nbetta = 1", ["dpo.betta", "beta", "learning_rate"]),
        ("[moddel]\nbase = 'x'", ["moddel", "model", "sizes"]),
        ('[dpo]\nbeta = "high"', ["dpo.beta", "number"]),
        ("[dpo]\nsteps = 1.5", ["dpo.steps", "integer"]),
        ("[scorer]\nnam = 'x'", ["scorer.nam", "accepted here: name, revision"]),
        ("[" + "a." * 200 + "b]", ["nested more deeply"]),
        ('[compute]\ndevice = "abacus"', ["compute.device", "cuda"]),
        ("model = 3", ["model"]),
        ("[dpo\n", ["not a TOML file"]),
        ('extends = "maxi"', ["maxi", "mini"]),
        ("[compute]\nthreads = 0", ["compute.threads", "greater than 0"]),
        ("[probe]\nC = []", ["probe.C", "at least 1"]),
        ("[sizes]\nprompts = 3", ["sizes.chunks"]),
        ('[data]\ntext = "nowhere.txt"', ["data.text", "no file or folder", "nowhere.txt"]),
        ('[model]\naligned = "./dpo.pt"', ["model.aligned", "dpo.pt"]),
        ('[scorer]\nsecond = "mine.py:f"', ["scorer.second", "mine.py"]),
        ('[model]\nbase = "openai-community/gpt2"', ["embedded", "scorer.name"]),
    ],
)
def test_a_mistake_is_named_with_what_is_accepted(tmp_path, text, names):
    with pytest.raises(UserError) as error:
        load_profile(write(tmp_path, text))
    message = str(error.value)
    assert "\n" not in message
    for name in ["mine.toml", *names]:
        assert name in message


def test_an_unknown_profile_lists_the_shipped_ones():
    with pytest.raises(UserError, match=r"gpt2-medium, mini"):
        load_profile("gpt5")


def test_paths_in_a_profile_are_relative_to_its_folder(tmp_path, monkeypatch):
    for name in ("mine.csv", "mine.py"):
        (tmp_path / name).touch()
    path = write(tmp_path, '[data]\ncomments = "mine.csv"\n[scorer]\nname = "mine.py:f"')
    monkeypatch.chdir("/")
    profile = load_profile(path)
    assert profile.data.comments == str((tmp_path / "mine.csv").resolve())
    assert profile.scorer.name == f"{(tmp_path / 'mine.py').resolve()}:f"


def test_a_revision_belongs_to_the_source_it_was_given_with(tmp_path):
    text = 'extends = "gpt2-medium"\n[model]\nbase = "me/mine"\n[data]\ncomments = "me/comments"\n'
    profile = load_profile(write(tmp_path, text))
    assert profile.model.revision == profile.data.comments_revision == ""
    assert len(profile.data.prompts_revision) == len(profile.scorer.revision) == 40


def test_a_file_on_the_hub_is_left_for_later(tmp_path):
    text = 'extends = "gpt2-medium"\n[model]\naligned = "org/name/dpo.pt"\n'
    assert load_profile(write(tmp_path, text)).model.aligned == "org/name/dpo.pt"


def test_one_text_is_not_for_pairs_and_perplexity(tmp_path):
    (tmp_path / "wiki.txt").touch()
    text = 'extends = "gpt2-medium"\n[data]\ntext = "wiki.txt"\n'
    with pytest.raises(UserError, match=r"data\.pair_text"):
        load_profile(write(tmp_path, text))
    both = text + 'pair_text = "wiki.txt"\n[model]\naligned = "org/name/dpo.pt"\n'
    assert load_profile(write(tmp_path, both)).data.text.endswith("wiki.txt")
