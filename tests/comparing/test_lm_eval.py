"""lm-evaluation-harness: our model and our tasks in it, against our own scorer."""

import json
import math
from importlib.resources import files

import pytest
import torch

import ropewalk as rw
from ropewalk.cli.main import main
from ropewalk.core.errors import RopewalkError
from ropewalk.core.passes import FullPass
from ropewalk.data import demo_model
from ropewalk.evaluation.tasks.table import GENERATORS
from ropewalk.integrations.loading import load_model
from ropewalk.integrations.scoring import TransformersScorer

lm_eval = pytest.importorskip("lm_eval")
pytestmark = pytest.mark.filterwarnings("ignore")  # the harness' own

METHODS = ("native", "yarn:factor=4", "dual_chunk:chunk_size=192,local_window=64")


def model(method, **arguments):
    from ropewalk.integrations.lm_eval import RopewalkLM

    return RopewalkLM(str(demo_model()), method=method, device="cpu", **arguments)


@pytest.mark.parametrize("method", METHODS)
def test_log_likelihoods_are_those_of_our_scorer(method):
    ids = torch.randint(300, 3000, (400,), generator=torch.Generator().manual_seed(7))
    ours = load_model(demo_model(), device=torch.device("cpu")).model
    with rw.extend(ours, method):
        losses = TransformersScorer(ours).token_losses(ids, 320, FullPass())
    theirs = model(method, max_length=512)
    context, answer = ids[:320].tolist(), ids[320:].tolist()
    request = [(("context", "answer"), context, answer)]
    ((total, _),) = theirs._loglikelihood_tokens(request, disable_tqdm=True)
    assert total == pytest.approx(-losses.sum().item(), rel=1e-6)
    single = [(("context", "answer"), context, answer[:1])]
    ((first, _),) = theirs._loglikelihood_tokens(single, disable_tqdm=True)
    assert first == pytest.approx(-losses[0].item(), abs=1e-5)


@pytest.mark.parametrize(
    ("method", "length"),
    [
        ("native", 256),
        ("yarn:factor=4", 1024),
        ("linear:factor=2.5", 640),
        ("dynamic_ntk:policy=fixed,length=512", 512),
        ("dual_chunk:chunk_size=192,local_window=64", None),
        ("dynamic_ntk", None),
        ("rerope:window=128", None),
    ],
)
def test_the_longest_prompt_is_what_the_method_was_asked_to_reach(method, length):
    if length is None:
        with pytest.raises(RopewalkError, match="max_length=N, else prompts would be cut"):
            model(method)
        assert model(method, max_length=700).max_length == 700
    else:
        assert model(method).max_length == length


def test_the_harness_own_class_reads_the_length_of_an_extension():
    """Its texts are cut to what the model's config says: 256 tokens for 1,024 would be a no-op."""
    from lm_eval.models.huggingface import HFLM

    loaded = load_model(demo_model(), device=torch.device("cpu"))
    tokenizer = loaded.require_tokenizer()
    assert HFLM(pretrained=loaded.model, tokenizer=tokenizer).max_length == 256
    with rw.extend(loaded.model, "yarn:factor=4"):
        assert HFLM(pretrained=loaded.model, tokenizer=tokenizer).max_length == 1024


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"parallelize": True}, "model_args parallelize"),
        ({"peft": "x"}, "model_args peft"),
        ({"dtype": "float8"}, "dtype=float8: expected one of"),
    ],
)
def test_an_argument_that_would_be_ignored_is_refused(arguments, told):
    with pytest.raises(RopewalkError, match=told):
        model("native", **arguments)


def test_there_is_a_task_file_for_every_generator_of_text():
    from lm_eval.tasks import TaskManager

    folder = files("ropewalk.comparing.harness") / "tasks"
    found = {n for n in TaskManager(include_path=str(folder)).all_subtasks if "ropewalk_" in n}
    text = set(GENERATORS) - {"induction", "key_value"}  # these are ids, not text
    generated = {f"ropewalk_{name}" for name in text}
    single = {"passkey", "niah_single_1", "niah_single_2", "niah_single_3"}
    assert found == generated | {f"ropewalk_{name}_rank" for name in text - single}


def harness(tmp_path, *arguments):
    given = f"pretrained={demo_model()},method=none,max_length=700"
    metadata = json.dumps({"lengths": [600], "trials": 4})
    out = ("--output_path", str(tmp_path / "out"), "--metadata", metadata, "--device", "cpu")
    assert main(["lm-eval", "--model_args", given, *out, *arguments]) == 0
    (file,) = (tmp_path / "out").rglob("results_*.json")
    return json.loads(file.read_text())


def test_the_command_runs_our_tasks_with_our_model(tmp_path):
    found = harness(tmp_path, "--tasks", "ropewalk_niah_multikey_2_rank,ropewalk_passkey")
    assert found["config"]["model"] == "ropewalk"
    assert found["n-samples"]["ropewalk_passkey"]["effective"] == 4
    right = found["results"]["ropewalk_passkey"]["right,none"]
    assert 0 <= right <= 1
    ranked = rw.compare(
        demo_model(),
        methods=["none"],
        lengths=[600],
        tasks=["niah_multikey_2"],
        trials=4,
        out=tmp_path / "run",
        device="cpu",
    ).records[0]
    assert found["results"]["ropewalk_niah_multikey_2_rank"]["acc,none"] == ranked["value"]


def test_answers_are_cached_for_each_method_apart(tmp_path, monkeypatch):
    from ropewalk.integrations.harness import _complete

    def name_of(**model_args):
        from argparse import Namespace

        args = Namespace(
            command="run", include_path=None, model=None, model_args=model_args, use_cache="c"
        )
        _complete(args, "ropewalk", tmp_path)
        return args.use_cache

    assert name_of(method="none") == name_of(method="none")
    assert name_of(method="none") != name_of(method="yarn:factor=4")
    assert name_of(method="none").startswith("c-")


def test_an_own_task_folder_stays_beside_ours(tmp_path):
    from argparse import Namespace

    from ropewalk.integrations.harness import _complete

    args = Namespace(command="ls", include_path="mine")
    _complete(args, "ropewalk", tmp_path)
    assert args.include_path == ["mine", str(tmp_path)]


def test_judging_needs_the_text_alone():
    from ropewalk.comparing.harness.dataset import judge

    doc = {"task": "passkey", "answer": ["12345"], "max_new_tokens": 8}
    assert judge(doc, [" 12345."]) == {"right": 1.0, "recall": 1.0, "empty": 0.0}
    assert judge(doc, [" 54321"]) == {"right": 0.0, "recall": 0.0, "empty": 0.0}
    assert judge(doc, ["no idea"]) == {"right": 0.0, "recall": 0.0, "empty": 1.0}
    assert not math.isnan(judge(doc, [""])["right"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tasks", "nowhere"], "Tasks not found: nowhere"),
        (["--tasks", "ropewalk_passkey", "--model", "nobody"], "load model 'nobody'"),
        (["--tasks", "ropewalk_passkey"], "no model: expected --model_args pretrained=MODEL"),
    ],
)
def test_words_that_the_harness_refuses_are_bad_input(capsys, arguments, said):
    assert main(["lm-eval", *arguments]) == 2
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("error: ")]
    assert said in line
