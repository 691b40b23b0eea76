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
        ('[compute]\ndevice = "abacus"', ["compute.device", "cuda"]),
        ("model = 3", ["model"]),
        ("[dpo\n", ["not a TOML file"]),
        ('extends = "maxi"', ["maxi", "mini"]),
        ("[compute]\nthreads = 0", ["compute.threads", "greater than 0"]),
        ("[probe]\nC = []", ["probe.C", "at least 1"]),
        ("[sizes]\nprompts = 3", ["sizes.chunks"]),
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
    (tmp_path / "mine.csv").write_text("x")
    path = write(tmp_path, '[data]\ncomments = "mine.csv"\n')
    monkeypatch.chdir("/")
    assert load_profile(path).data.comments == str((tmp_path / "mine.csv").resolve())
