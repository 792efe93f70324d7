"""tune: what is saved does what was tuned, with and without a config that can say it."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import ropewalk as rw
from representative import CHANGES, LONG, PARAMETERS, SHORT
from ropewalk.adapting.stating import Statement
from ropewalk.cli.main import main
from ropewalk.configs.shape import read_model
from ropewalk.integrations.config_classes import completed_by_transformers
from ropewalk.integrations.loading import load_config
from ropewalk.methods.spec import parse_spec
from ropewalk.training.tuning.card import won_back_sentence
from training.tuning_inputs import LENGTH, TRAINED, checkpoint, quick_tune, text

STATED = [
    "native",
    "none",
    "linear:factor=4",
    "ntk_aware:factor=4",
    "dynamic_ntk:policy=fixed,length=128",
    "dynamic_ntk:policy=whole_sequence",
    "ntk_by_parts:factor=4",
    "yarn:factor=length",
    "dynamic_yarn:policy=fixed,length=128",
    "llama3:factor=4",
    "abf:rope_theta=50000",
    "longrope:short_factor=@{short},long_factor=@{long},factor=4,policy=fixed,length=128",
    "proportional:partial_rotary_factor=0.5",
    "clipped",
    "resonance",
]
"""Of each method that a config says, one spec; lists are files."""
UNSTATED = ["rerope:window=12", "yarn:factor=4+log_n", "nope"]

STRANGER = """
import json, sys, torch
sys.modules["ropewalk"] = None  # whoever imports it fails
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
worst = []
for folder in sys.argv[1:]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    kept = load_file(folder + "/ropewalk_logits.safetensors")
    with torch.no_grad():
        logits = model(kept["ids"][None], use_cache=False).logits[0, kept["rows"]]
    worst.append(float((logits - kept["logits"]).abs().max()))
print(json.dumps(worst))
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    return text(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """LongRoPE's lists of the base model's eight pairs, by name, as files."""
    folder = tmp_path_factory.mktemp("lists")
    files = {"short": SHORT[:8], "long": LONG[:8]}
    for name, factors in files.items():
        (folder / f"{name}.json").write_text(json.dumps(factors))
    return {name: str(folder / f"{name}.json") for name in files}


def seen_by_a_stranger(folders):
    """The largest difference of a logit from what ``tune`` reported, of each checkpoint."""
    answer = subprocess.run(
        [sys.executable, "-c", STRANGER, *map(str, folders)],
        env={**os.environ, "PYTHONPATH": ""},
        cwd=folders[0],
        capture_output=True,
        check=True,
        text=True,
    )
    return json.loads(answer.stdout)


def tuned(base, book, folder, methods, **words):
    """A checkpoint of each method, stated by its config."""
    folders = []
    for number, method in enumerate(methods):
        folders.append(folder / str(number))
        document = quick_tune(base, method, texts=[book], out=folders[-1], **words)
        assert document["stated_by"] == "config.json", method
        assert not (folders[-1] / "ropewalk.json").exists()
    return folders


def test_plain_transformers_gives_the_logits_that_were_reported(base, book, lists, tmp_path):
    """In a process that cannot import Ropewalk, for every method that a config says."""
    methods = [method.format_map(lists) for method in STATED]
    found = seen_by_a_stranger(tuned(base, book, tmp_path, methods, steps=1))
    assert {name: each for name, each in zip(methods, found, strict=True) if each >= 1e-4} == {}


def variants(lists):
    """Each method at parameters that stand for it, and with each of them changed."""
    files = {id(SHORT): f"@{lists['short']}", id(LONG): f"@{lists['long']}"}
    for name, own in PARAMETERS.items():
        changed = [{}, *({key: value} for key, value in CHANGES.get(name, {}).items())]
        for given in ({**own, **change} for change in changed):
            words = (f"{key}={files.get(id(value), value)}" for key, value in given.items())
            yield f"{name}:{','.join(words)}"


@pytest.fixture(scope="module")
def said(base, lists):
    """Those of ``STATED`` and of ``variants`` that a config of the base model says."""
    shape = read_model(load_config(base), completed_by_transformers)
    asked = [*(method.format_map(lists) for method in STATED), *variants(lists)]

    def stated(method):
        spec = parse_spec(method.rstrip(":")).resolved(
            shape.rope().geometry(), context_length=LENGTH
        )
        return Statement.of(shape, spec, LENGTH, None).stated_by == "config.json"

    return [method.rstrip(":") for method in asked if stated(method)]


def test_no_method_that_a_config_says_is_left_out(said):
    """Of the whole table of methods."""
    assert {method.partition(":")[0] for method in STATED} == {
        method.partition(":")[0] for method in said
    }


@pytest.mark.slow
def test_plain_transformers_follows_every_parameter_that_a_config_says(base, book, said, tmp_path):
    assert len(said) > 2 * len(STATED)
    found = seen_by_a_stranger(tuned(base, book, tmp_path, said, steps=1))
    assert {name: each for name, each in zip(said, found, strict=True) if each >= 1e-4} == {}


def test_tuned_weights_are_not_the_ones_before(base, book, tmp_path):
    quick_tune(base, "linear:factor=4", texts=[book], out=tmp_path / "new")
    before, after = (load_file(folder / "model.safetensors") for folder in (base, tmp_path / "new"))
    assert before.keys() == after.keys()
    assert all(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("method", UNSTATED)
def test_a_method_that_no_config_says_is_stated_beside_it(method, base, book, tmp_path):
    document = quick_tune(base, method, texts=[book], out=tmp_path / "new")
    assert document["stated_by"] == "ropewalk.json"
    model, extension = rw.load(tmp_path / "new")
    kept = load_file(tmp_path / "new" / "ropewalk_logits.safetensors")
    with torch.no_grad():
        logits = model(kept["ids"][None], use_cache=False).logits[0, kept["rows"]]
        torch.testing.assert_close(logits, kept["logits"], rtol=0, atol=1e-4)
        extension.remove()
        plain = AutoModelForCausalLM.from_pretrained(tmp_path / "new")
        stock = plain(kept["ids"][None], use_cache=False).logits[0, kept["rows"]]
    assert (stock - kept["logits"]).abs().max() > 1e-2
    assert "No engine computes this method" in (tmp_path / "new" / "README.md").read_text()


def test_commands_follow_ropewalk_json(base, book, tmp_path, capsys):
    """``native`` of a checkpoint is the method that it states."""
    folder = tmp_path / "new"
    quick_tune(base, "rerope:window=12", texts=[book], out=folder)
    plain = AutoModelForCausalLM.from_pretrained(folder)
    words = {"lengths": [LENGTH], "windows": 2, "tail_tokens": 16}
    document = torch.tensor(list(book.read_bytes())[:4000])
    arguments = ["--text", str(book), "--length", str(LENGTH), "--windows", "2"]
    methods = [f"--method={each}" for each in ("native", "rerope:window=12", "none")]
    out = ["--out", str(tmp_path / "run"), "--json"]
    assert main(["compare", str(folder), *arguments, *methods, *out]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    native, rerope, none = (cell["nll"] for cell in cells)
    assert native == rerope != none
    assert main(["inspect", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["method"] == "rerope:window=12"
    greedy = ["--prompt", book.read_text()[:100], "--max-new-tokens", "8", "--json"]
    assert main(["generate", str(folder), *greedy]) == 0
    own = json.loads(capsys.readouterr().out)
    assert own["method"] == "rerope:window=12"
    assert main(["generate", str(folder), *greedy, "--method", "rerope:window=12"]) == 0
    assert json.loads(capsys.readouterr().out)["tokens"] == own["tokens"]
    assert rw.perplexity(plain, [document], **words)  # a model in memory knows no folder


def test_load_wants_a_folder_that_states_a_method(base):
    with pytest.raises(rw.RopewalkError, match="load it with transformers"):
        rw.load(base)


def test_the_table_tells_before_during_and_after(base, book, tmp_path):
    document = quick_tune(
        base, "linear:factor=4", texts=[book], out=tmp_path / "new", evaluate_every=2
    )
    rows = {(cell["when"], cell["weights"], cell["method"]) for cell in document["cells"]}
    assert rows == {
        ("before", "original", "none"),
        ("before", "original", "linear:factor=4"),
        ("stage 1, step 2", "tuned", "linear:factor=4"),
        ("after", "tuned", "linear:factor=4"),
    }
    lengths = {cell["length"] for cell in document["cells"]}
    assert lengths == {TRAINED, 2 * TRAINED, LENGTH}
    assert {cell["status"] for cell in document["cells"]} == {"ok"}


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.834, "tuning won 83% back"),
        (22.3, "won back all that the method lost untuned, and more"),
        (-0.2, "won back nothing of what the method lost untuned: it lost more"),
    ],
)
def test_a_share_outside_the_whole_is_said_in_words(share, said):
    """A loss next to nothing makes shares of any size."""
    assert said in won_back_sentence({"share": share})
    assert won_back_sentence({"share": None}) == ""


def test_figures_are_those_of_the_saved_checkpoint(base, book, tmp_path):
    """Measured again from the folder, by compare."""
    held = text(tmp_path, "held.txt", start=400_000)
    document = quick_tune(
        base, "yarn:factor=4", texts=[book], heldout=[held], out=tmp_path / "new", tail_tokens=16
    )
    told = [cell["nll"] for cell in document["cells"] if cell["when"] == "after"]
    again = rw.compare(
        tmp_path / "new",
        out=tmp_path / "run",
        methods=["native"],
        lengths=[TRAINED, 2 * TRAINED, LENGTH],
        windows=2,
        tail_tokens=16,
        texts=[held],
    )
    found = [cell["nll"] for cell in again.records]
    torch.testing.assert_close(torch.tensor(told), torch.tensor(found), rtol=1e-5, atol=0)


@pytest.mark.slow
def test_stages_train_on_what_the_one_before_left(base, book, tmp_path):
    """Two stages in one run are two runs, the second from the checkpoint of the first."""
    methods, lengths = ["abf:rope_theta=20000", "abf:rope_theta=50000"], [64, 128]
    both = quick_tune(base, methods, lengths, texts=[book], out=tmp_path / "both", steps=[2, 3])
    assert [stage["steps"] for stage in both["stages"]] == [2, 3]
    assert both["method"] == methods[1]
    first = quick_tune(base, methods[0], 64, texts=[book], out=tmp_path / "one", steps=2)
    assert [s["learning_rate"] for s in both["stages"]] == [first["stages"][0]["learning_rate"]] * 2
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "both"))
    name = "model.layers.0.mlp.up_proj.weight"
    start = load_file(base / "model.safetensors")[name]
    assert (two[name] - one[name]).norm() < (two[name] - start).norm()


@pytest.mark.slow
def test_a_stage_without_steps_changes_the_method_alone(base, book, tmp_path):
    """DroPE: the rotation is dropped and trained away; then a temperature, which trains nothing."""
    dropped = quick_tune(base, "nope", 32, texts=[book], out=tmp_path / "dropped", steps=2)
    methods, lengths = ["nope", "nope+temperature:tau=1.5"], [32, LENGTH]
    both = quick_tune(base, methods, lengths, texts=[book], out=tmp_path / "both", steps=[2, 0])
    assert [stage["steps"] for stage in both["stages"]] == [2, 0]
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("dropped", "both"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert dropped["stated_by"] == both["stated_by"] == "ropewalk.json"
    model, extension = rw.load(tmp_path / "both")
    ids = torch.arange(40)[None]
    with torch.no_grad():
        sharp = model(ids, use_cache=False).logits
        extension.remove()
        with rw.extend(model, "nope"):
            plain = model(ids, use_cache=False).logits
        with rw.extend(model, "nope+temperature:tau=1.5"):
            torch.testing.assert_close(model(ids, use_cache=False).logits, sharp)
    assert (plain - sharp).abs().max() > 1e-2


def test_the_same_command_again_does_nothing(base, book, tmp_path):
    folder = tmp_path / "new"
    first = quick_tune(base, "linear:factor=4", texts=[book], out=folder)
    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert quick_tune(base, "linear:factor=4", texts=[book], out=folder) == first
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    with pytest.raises(rw.RopewalkError, match="other settings"):
        quick_tune(base, "linear:factor=2", texts=[book], out=folder)
