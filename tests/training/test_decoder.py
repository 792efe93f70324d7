"""The decoder that takes any encoding: one result however it is fed, trained, saved and loaded."""

import json

import pytest
import torch
from torch.testing import assert_close

import ropewalk as rw
from ropewalk.cli.main import main
from ropewalk.core.errors import RopewalkError
from ropewalk.methods.method import Promise
from ropewalk.methods.table import METHODS
from ropewalk.opening.checkpoints import open_checkpoint
from ropewalk.training.corpus import Windows
from ropewalk.training.decoder import Decoder
from ropewalk.training.decoder_config import DecoderConfig
from ropewalk.training.run import DecoderSize, train
from ropewalk.training.schedule import WarmupStableDecay
from ropewalk.training.trainer import Recipe, _optimizers

TRAINED, LENGTH = 16, 40
SPECS = [
    "none", "nope", "alibi", "t5_bias", "kerple", "fire", "fox", "inkling:rel_extent=8",
    "shaw:max_relative_position=4", "xpos:scale_base=16", "rope_values", "learned:rows=64",
    "sinusoidal", "alibi+yarn:factor=2", "t5_bias+fox+none", "dynamic_ntk", "dual_chunk",
]  # fmt: skip
SAME = {"rtol": 0, "atol": 1e-9}


def decoder(*specs, **shape):
    torch.manual_seed(3)
    config = DecoderConfig(
        vocab_size=64, hidden_size=32, intermediate_size=40, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=TRAINED,
        encodings=list(specs), **shape,
    )  # fmt: skip
    model = Decoder(config).double().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and ("proj" in name or "encoding_terms" in name):
                parameter.mul_(6)
            elif "norm" in name:
                parameter.mul_(torch.rand_like(parameter) + 0.5)
    return model


def token_ids(batch=2, length=LENGTH):
    return torch.randint(0, 64, (batch, length), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def in_calls(model, ids, sizes):
    start, cache, found = 0, None, []
    for size in sizes:
        out = model(ids[:, start : start + size], past_key_values=cache, use_cache=True)
        cache, start = out.past_key_values, start + size
        found.append(out.logits)
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("spec", SPECS)
@torch.no_grad()
def test_any_encoding_gives_one_result(spec):
    model, ids = decoder(spec), token_ids()
    full = model(ids).logits
    assert_close(in_calls(model, ids, [17, 1, 1, 21]), full, **SAME)
    assert_close(in_calls(model, ids, [1] * LENGTH), full, **SAME)
    mask = torch.ones_like(ids)
    mask[1, :7] = 0
    padded = model(ids, attention_mask=mask).logits
    assert_close(padded[1, 7:], model(ids[1:, 7:]).logits[0], **SAME)
    assert_close(padded[:1], full[:1], **SAME)


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec not in ("nope",)])
@torch.no_grad()
def test_the_encoding_reaches_the_logits(spec):
    """Each gives other logits than no encoding, with the same projections."""
    model, bare = decoder(spec), decoder("nope")
    own = model.state_dict()
    bare.load_state_dict({name: own[name] for name in bare.state_dict()})
    ids = token_ids()
    assert (model(ids).logits - bare(ids).logits).abs().max() > 1e-3


@torch.no_grad()
def test_kinds_of_layers_alternate():
    """RoPE in windows of 5, nothing globally: what is far back is seen by the second kind alone."""
    model = decoder("none", "nope", windows=[5, None], qk_norm="rms")
    assert [each.frequencies is None for each in model.encodings] == [False, True]
    assert model.windows == [5, None]
    ids = token_ids()
    full = model(ids).logits
    assert_close(in_calls(model, ids, [9, 1, 30]), full, **SAME)
    changed = ids.clone()
    changed[:, 0] = (changed[:, 0] + 1) % 64
    assert (model(changed).logits[:, -1] - full[:, -1]).abs().max() > 1e-6
    local = decoder("none", windows=[5])
    assert_close(local(changed).logits[:, 9:], local(ids).logits[:, 9:], **SAME)


def test_tables_of_an_encoding_are_no_matrices_of_a_block():
    model = decoder("t5_bias").float()
    windows = Windows(length=8, batch_size=2)
    recipe = Recipe(windows=windows, schedule=WarmupStableDecay(total_steps=4))
    muon, adam = _optimizers(model, recipe)
    table = model.model.layers[0].attention.encoding_terms["t5_bias"]
    in_muon = {id(p) for group in muon.param_groups for p in group["params"]}
    undecayed = {id(p) for p in adam.param_groups[1]["params"]}
    assert id(table) not in in_muon
    assert id(table) in undecayed
    assert id(model.model.layers[0].attention.q_proj.weight) in in_muon


@pytest.mark.parametrize("spec", ["fire", "kerple", "fox", "inkling:rel_extent=8", "shaw"])
def test_every_parameter_of_an_encoding_learns(spec):
    model, ids = decoder(spec).float().train(), token_ids()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(ids, use_cache=False).logits
    torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), ids.flatten()).backward()
    for layer in model.model.layers:
        for name, parameter in layer.attention.encoding_terms.items():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name


# A method on a trained decoder.


@torch.no_grad()
def test_a_method_is_put_in_and_taken_out():
    model, ids = decoder("none+kerple"), token_ids()
    before = model(ids).logits
    with rw.extend(model, "yarn:factor=4") as extension:
        inside = model(ids).logits
        assert extension.describe()["layers_changed"] == 2
        assert all(each.learned for each in model.encodings)
    assert (inside - before).abs().max() > 1e-3
    assert torch.equal(model(ids).logits, before)


@pytest.mark.parametrize(
    ("trained", "method", "said"),
    [
        ("alibi", "yarn:factor=4", "rotates nothing"),
        ("kerple", "linear:factor=4", "rotates nothing"),
        ("none", "t5_bias", "trained with a model"),
        ("xpos", "linear:factor=2", "xpos"),
    ],
)
def test_what_cannot_be_put_in_is_refused(trained, method, said):
    with pytest.raises(RopewalkError, match=said):
        rw.extend(decoder(trained), method)


def test_windows_within_the_trained_length_keep_their_encoding():
    model = decoder("none", windows=[TRAINED, None])
    own = model.encodings
    with rw.extend(model, "linear:factor=2"):
        assert model.encodings[0] == own[0]
        assert model.encodings[1] != own[1]


# Training and checkpoints.


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("The ropewalk is long, and the rope is longer than the walk. " * 200)
    return path


SMALL = {"length": TRAINED, "batch": 2, "size": DecoderSize(layers=2, width=32, key_heads=2)}


@pytest.fixture(scope="module")
def trained(text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return train("none+kerple", folder, texts=[text], steps=6, **SMALL)


def test_an_interrupted_run_goes_on_to_the_same_numbers(text, trained, tmp_path):
    class Killed(Exception):
        pass

    def kill(record):
        if record.step == 3:
            raise Killed

    with pytest.raises(Killed):
        train("none+kerple", tmp_path, texts=[text], steps=6, progress=kill, **SMALL)
    again = train("none+kerple", tmp_path, texts=[text], steps=6, **SMALL)
    assert again["loss"] == trained["loss"]
    first, second = (open_checkpoint(each["model"]) for each in (trained, again))
    assert first.fingerprint == second.fingerprint


def test_a_checkpoint_is_compared_verified_and_continued(trained, text, tmp_path, capsys):
    model = trained["model"]
    methods = ["--method", "native", "--method", "yarn"]
    run = ["--json", "--out", str(tmp_path / "run"), "--windows", "2", "--text", str(text)]
    assert main(["compare", model, *methods, "--length", "8", "--length", "2x", *run]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert [cell["status"] for cell in cells] == ["ok"] * 4
    assert main(["verify", model, *methods, "--json"]) == 0
    records = json.loads(capsys.readouterr().out)["records"]
    assert {record["status"] for record in records} == {"ok"}
    assert main(["generate", model, "--prompt", "The", "--max-new-tokens", "3", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["tokens"]) <= 3


def test_a_folder_of_another_run_is_refused(trained, text):
    folder = trained["model"].removesuffix("/model")
    with pytest.raises(RopewalkError, match="other settings"):
        train("alibi", folder, texts=[text], steps=6, **SMALL)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--encoding", "alibbi"], "alibi"),
        (["--encoding", "none", "--decoder", "heads=3"], "width"),
        (["--encoding", "none", "--decoder", "depth=3"], "depth"),
        (["--encoding", "none", "--decoder", "qk_norm=layer"], "qk_norm"),
        (["--encoding", "none", "--decoder", "partial_rotary_factor=2"], "share"),
        (["--encoding", "none", "--decoder", "partial_rotary_factor=half"], "share"),
        (["--encoding", "none", "--text", "missing.txt"], "missing.txt"),
        (["--encoding", "none", "--encoding", "learned"], "kinds of layers"),
    ],
)
def test_bad_requests_are_refused(options, said, tmp_path, capsys):
    assert main(["train", "--out", str(tmp_path / "run"), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error


def test_all_encodings_that_are_trained_are_tried_here():
    tried = {part.partition(":")[0] for spec in SPECS for part in spec.split("+")}
    assert tried >= {n for n, method in METHODS.items() if Promise.TRAINED in method.promises}


def test_nothing_is_written_into_a_folder_that_holds_a_checkpoint(tmp_path, text):
    (tmp_path / "config.json").write_text("{}")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RopewalkError, match="holds a checkpoint already"):
        train("none", tmp_path, texts=[text], steps=1, **SMALL)
    assert sorted(tmp_path.iterdir()) == before
