"""verify: it passes what is right, and sees what is wrong, in ours and in the library's path."""

import copy
import json

import pytest
import torch
from torch.testing import assert_close

import ropewalk as rw
from recipes.families.sharpened import L0, in_calls, left_padded, logits, tiny, token_ids
from ropewalk.api.verification import verify_checkpoint, verify_stock
from ropewalk.cli.main import main
from ropewalk.core.encoding import KeyStorage
from ropewalk.integrations.methods import TransformersMethods
from ropewalk.integrations.modes import at_rest
from ropewalk.integrations.predictor import TransformersPredictor
from ropewalk.verification.checks import (
    CHECKS,
    Reference,
    Sample,
    decoding_calls,
    rounding,
    uneven_calls,
)
from ropewalk.verification.gap import Gap
from ropewalk.verification.listening import Silent
from ropewalk.verification.subject import DEFAULT_SPECS
from ropewalk.verification.verdicts import Gaps, Tolerances

LENGTH, SHORT = 48, 40
"""Defaults for a trained length of 32: 16 tokens beyond it, and half of that."""
PAIRS = 8
DYNAMIC = {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}
LONGROPE = {
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "short_factor": [1 + i / 16 for i in range(PAIRS)],
        "long_factor": [1 + i / 4 for i in range(PAIRS)],
        "factor": 4.0,
        "original_max_position_embeddings": L0,
    },
    "max_position_embeddings": 4 * L0,
}
IDS, INF = torch.tensor([5]), float("inf")
PATH_DEPENDENT = {"dynamic_ntk:policy=whole_sequence", "dynamic_ntk:policy=at_birth"}


class Heard(Silent):
    """A listener that hands on how far the work is."""

    def __init__(self, working):
        self.working = working


def small(name="llama", **settings):
    """Two layers are enough for a stale key to reach a logit."""
    return tiny(name, **{"num_hidden_layers": 2, **settings})


def predictor(model):
    return TransformersPredictor(model=model, name="tiny", trained_length=L0)


def by_method(records):
    """method -> check -> record."""
    found = {}
    for record in records:
        found.setdefault(record["method"], {})[record["check"]] = record
    return found


def statuses(records):
    return {check: record["status"] for check, record in records.items()}


def figure(record):
    return record["max_logit_difference"]


@pytest.fixture(scope="module")
def dynamic():
    return small(**DYNAMIC)


@pytest.fixture(scope="module")
def longrope():
    return small(**LONGROPE)


@pytest.fixture
def sample(dynamic):
    return Sample.of(predictor(dynamic), LENGTH)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved model without a tokenizer."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    small(dtype=torch.float32).save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def dynamic_folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "dynamic"
    small(dtype=torch.float32, **DYNAMIC).save_pretrained(path)
    return str(path)


def unpadded(padding, batch, length):
    """Positions 0 .. n-1 for a left-padded row: the defect of a plain forward."""
    return torch.arange(length).expand(batch, length)


def ignore_padding(monkeypatch):
    monkeypatch.setattr("ropewalk.integrations.call.own_positions", unpadded)


def keep_keys_as_born(monkeypatch):
    monkeypatch.setattr(
        "ropewalk.core.encoding.Encoding.key_storage", property(lambda _: KeyStorage.ROTATED)
    )


# What is right passes.


@pytest.mark.parametrize(
    "dtype", [pytest.param(torch.float64, marks=pytest.mark.slow), torch.float32]
)
def test_every_default_method_keeps_its_promises(dtype):
    records = by_method(rw.verify(small(dtype=dtype)))
    assert tuple(records) == DEFAULT_SPECS
    for method, checks in records.items():
        depends = "differs, as declared" if method in PATH_DEPENDENT else "ok"
        expected = {"chunked": depends, "decode": depends, "padded": "ok", "history": "ok"}
        assert statuses(checks) == expected, method


@pytest.mark.parametrize("spec", sorted(PATH_DEPENDENT))
def test_what_depends_on_the_path_is_shown_with_its_figures(spec):
    decode = by_method(rw.verify(small(), [spec]))[spec]["decode"]
    assert figure(decode) > 1e-2 > decode["tolerance"]
    assert 0 < decode["max_total_variation"] <= 1
    assert decode["sentence"].endswith("as its length policy declares")


def test_a_model_in_bfloat16_passes():
    records = rw.verify(small(dtype=torch.bfloat16), ["none", "dynamic_ntk"])
    assert {record["status"] for record in records} == {"ok"}


def test_a_sliding_window_passes():
    records = rw.verify(small("qwen2 sliding"), ["native", "yarn", "dynamic_ntk"])
    assert {record["status"] for record in records} == {"ok"}


# The library's own path.


@pytest.mark.parametrize("config", [{}, LONGROPE, DYNAMIC], ids=["default", "longrope", "dynamic"])
def test_stock_is_measured_as_it_is(config):
    model = small(**config)
    consistent = not config
    checks = by_method(verify_stock(model))["stock"]
    assert statuses(checks)["decode"] == ("ok" if consistent else "failed")
    if consistent:
        assert set(statuses(checks).values()) == {"ok"}
    else:
        assert figure(checks["decode"]) > 1e-2
        assert figure(checks["padded"]) > 1e-2 or config is LONGROPE


def test_stock_dynamic_has_a_memory(dynamic):
    checks = by_method(verify_stock(dynamic))["stock"]
    assert set(statuses(checks).values()) == {"failed"}
    assert "remembers an earlier call" in checks["history"]["sentence"]


def test_stock_longrope_has_none(longrope):
    assert by_method(verify_stock(longrope))["stock"]["history"]["status"] == "ok"


@pytest.mark.parametrize("config", [DYNAMIC, LONGROPE], ids=["dynamic", "longrope"])
def test_ours_is_right_where_stock_is_not(config, tmp_path):
    for name in ("short_factor", "long_factor"):
        values = LONGROPE["rope_parameters"][name]
        (tmp_path / f"{name}.json").write_text(json.dumps(values))
    lists = ",".join(f"{n}=@{tmp_path / n}.json" for n in ("short_factor", "long_factor"))
    promised = ["dynamic_ntk", "yarn+log_n", f"longrope:{lists},factor=4"]
    records = by_method(rw.verify(small(**config), ["native", "native+log_n", *promised]))
    for method in promised:
        assert set(statuses(records[method]).values()) == {"ok"}, method
    for method in ("native", "native+log_n"):
        assert records[method]["decode"]["status"] == "differs, as declared"
        assert figure(records[method]["decode"]) > 1e-2


def test_figures_are_those_of_logits_compared_by_hand(dynamic, sample):
    """The library's path, by plain calls of freshly copied models."""
    long, short = sample.long[None], sample.short[None]
    assert (long.shape[1], short.shape[1]) == (LENGTH, SHORT)
    full = logits(copy.deepcopy(dynamic), long)
    alone = logits(copy.deepcopy(dynamic), short)
    stepwise = in_calls(copy.deepcopy(dynamic), long, [1] * LENGTH)
    both, mask = left_padded(short, LENGTH, long)
    given = {"position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}
    beside, placed = (
        logits(copy.deepcopy(dynamic), both, attention_mask=mask, **inputs)[:1, LENGTH - SHORT :]
        for inputs in ({}, given)
    )
    used = copy.deepcopy(dynamic)
    logits(used, long)
    after = logits(used, short)
    checks = by_method(verify_stock(dynamic))["stock"]
    for check, expected, ways in (
        ("decode", full, [stepwise]),
        ("padded", alone, [beside, placed]),
        ("history", alone, [after]),
    ):
        differences = [float((expected - found).abs().max()) for found in ways]
        found = ways[differences.index(max(differences))]
        variation = float((expected.softmax(-1) - found.softmax(-1)).abs().sum(-1).max() / 2)
        assert_close(figure(checks[check]), max(differences), rtol=0, atol=1e-9)
        assert_close(checks[check]["max_total_variation"], variation, rtol=0, atol=1e-9)


def test_the_first_position_that_differs_is_named(dynamic):
    """Decoding turns key 0 .. 32 as trained; row 32 is the first beyond the trained length.

    The full pass turns all rows under the base of 48 tokens, so the first row with a key at
    another position than its own, row 1, differs already.
    """
    sentence = by_method(verify_stock(dynamic))["stock"]["decode"]["sentence"]
    assert sentence.startswith(f"{LENGTH} tokens one by one: logits differ")
    assert "first at position 1 (trained length 32)" in sentence


# What is wrong is seen.


@pytest.mark.parametrize(
    ("break_it", "check"), [(ignore_padding, "padded"), (keep_keys_as_born, "decode")]
)
def test_a_defect_is_seen_and_ends_in_status_1(folder, break_it, check, monkeypatch, capsys):
    assert main(["verify", folder, "--method", "dynamic_ntk"]) == 0
    capsys.readouterr()
    break_it(monkeypatch)
    assert main(["verify", folder, "--method", "dynamic_ntk"]) == 1
    output = capsys.readouterr().out
    assert f"dynamic_ntk, {check}: " in output
    assert "Of 1: broken promises: 1." in output


def test_a_memory_of_ours_would_be_seen(monkeypatch):
    """A policy that keeps the longest length it was asked for."""
    from ropewalk.core.lengths import PerQuery

    seen, right = [L0], PerQuery.row_lengths

    def remembering(self, positions, sequence_lengths):
        seen.append(int(right(self, positions, sequence_lengths).max()))
        return torch.full_like(positions, max(seen))

    monkeypatch.setattr(PerQuery, "row_lengths", remembering)
    checks = by_method(rw.verify(small(), ["dynamic_ntk"]))["dynamic_ntk"]
    assert checks["history"]["status"] == "failed"
    assert "a result depends on what ran before" in checks["history"]["sentence"]


def test_a_model_whose_logits_are_not_numbers_is_refused():
    model = small()
    with torch.no_grad():
        model.lm_head.weight[3, 0] = float("nan")
    with pytest.raises(rw.RopewalkError, match="not finite"):
        verify_stock(model)
    with pytest.raises(rw.RopewalkError, match="by nan of the largest"):
        rw.verify(model, ["none"])


def test_entries_that_a_family_masks_are_no_difference():
    """Of the head's own logits, -inf in both is the same."""
    model = small()
    model.lm_head.register_forward_hook(lambda module, args, out: out.index_fill(-1, IDS, -INF))
    records = verify_stock(model)
    assert {record["status"] for record in records} == {"ok"}
    assert max(record["tolerance"] for record in records) < 1


# The model is left alone.


def snapshot(model):
    """All that a call may change, tensors as lists: also plain attributes of rotary modules."""
    values = {**model.state_dict(), **dict(model.named_buffers())}
    values |= {f"rotary {name}": value for name, value in vars(model.model.rotary_emb).items()}
    values |= {name: (id(module), module.training) for name, module in model.named_modules()}
    values |= {"config": id(model.config), "settings": model.config.to_dict()}
    return {
        name: value.tolist() if isinstance(value, torch.Tensor) else value
        for name, value in values.items()
        if not name.startswith("rotary _")
    }


@pytest.mark.parametrize("config", [DYNAMIC, LONGROPE], ids=["dynamic", "longrope"])
@pytest.mark.parametrize("check", [rw.verify, verify_stock], ids=["ours", "stock"])
def test_the_model_is_what_it_was(config, check):
    """Also one that has run a long call, whose memory is its owner's."""
    model = small(**config).train()
    logits(model, token_ids(1, 60))
    before, ids = snapshot(model), token_ids(1, LENGTH)
    expected = logits(copy.deepcopy(model), ids)
    check(model, **({"specs": ["native", "dynamic_ntk", "none"]} if check is rw.verify else {}))
    assert snapshot(model) == before
    assert torch.equal(logits(model, ids), expected)


def test_what_ran_before_does_not_change_the_records(dynamic):
    used = copy.deepcopy(dynamic)
    logits(used, token_ids(1, 60))
    assert verify_stock(used) == verify_stock(dynamic)


def test_the_model_is_what_it_was_after_an_error(dynamic, monkeypatch):
    before = snapshot(dynamic)

    def fail(reference):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("ropewalk.verification.subject.CHECKS", {"chunked": fail})
    with pytest.raises(RuntimeError, match="out of memory"):
        rw.verify(dynamic, ["dynamic_ntk"])
    assert snapshot(dynamic) == before


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_by_itself_leaves_the_model_alone(dynamic, sample, name):
    reference, before = Reference(predictor(dynamic), sample), snapshot(dynamic)
    CHECKS[name](reference)
    assert snapshot(dynamic) == before


def test_modules_that_share_a_rotary_share_its_copy(dynamic):
    model = copy.deepcopy(dynamic)
    rotary = model.model.rotary_emb
    model.model.layers[0].rotary_emb = rotary
    with at_rest(model):
        copied = model.model.rotary_emb
        assert copied is not rotary
        assert model.model.layers[0].rotary_emb is copied
        assert copied.config is rotary.config
    assert model.model.rotary_emb is model.model.layers[0].rotary_emb is rotary


# Parts.


def gap(differences, positions=None, largest=10.0):
    differences = torch.tensor(differences, dtype=torch.float64)
    return Gap(
        way="a way",
        positions=torch.arange(len(differences)) if positions is None else torch.tensor(positions),
        logit_differences=differences,
        total_variations=differences / 100,
        largest_logit=largest,
    )


@pytest.mark.parametrize(
    ("dtype", "differences", "expected"),
    [
        (torch.float64, [0.0, 0.0], 1e-8),
        (torch.float32, [0.0, 1e-5], 1e-3),
        (torch.float32, [1e-4, 0.0], 2e-3),
        (torch.bfloat16, [0.0], 0.5),
    ],
)
def test_the_tolerance_is_twenty_gaps_or_the_floor_of_the_dtype(dtype, differences, expected):
    yardstick = Gaps(by_check={"decode": gap(differences)}, rounding=lambda: 1e-6)
    allowed = Tolerances.of(yardstick, dtype, L0).by_check["decode"]
    assert_close(allowed, expected, rtol=1e-12, atol=0)


def decode_record(found, rounded=1e-6):
    tolerances = Tolerances(by_check={"decode": 0.1}, rounding=1e-6, trained_length=L0)
    gaps = Gaps(by_check={"decode": found}, rounding=lambda: rounded)
    (record,) = tolerances.records("yarn", gaps, "failed")
    return record


def test_a_record_tells_the_first_position_above_the_tolerance():
    record = decode_record(gap([0.1, 0.0, 0.5, 0.3], positions=[30, 31, 33, 32]))
    assert record["status"] == "failed"
    assert record["max_logit_difference"] == 0.5
    assert record["max_total_variation"] == 0.005
    assert "first at position 32 (trained length 32)" in record["sentence"]
    assert decode_record(gap([0.1]))["status"] == "ok"
    assert decode_record(gap([torch.inf]))["status"] == "failed"


@pytest.mark.parametrize(
    ("rounding", "tolerance"),
    [(0.0, 0.1), (5e-7, 0.1), (1e-6, 0.1), (3e-6, 0.3), (float("nan"), 0.1), (INF, 0.1)],
)
def test_a_model_that_amplifies_rounding_more_than_the_yardstick_may_differ_more(
    rounding, tolerance
):
    record = decode_record(gap([0.2]), rounding)
    assert_close(record["tolerance"], tolerance, rtol=1e-12, atol=0)
    assert record["status"] == ("ok" if tolerance > 0.2 else "failed")


def test_rounding_is_what_embeddings_one_rounding_away_do():
    """The same by hand, from embeddings that a caller gives."""
    model = small(dtype=torch.float32)
    local = predictor(model)
    sample = Sample.of(local, LENGTH)
    found = rounding(local, Reference(local, sample)).max_logit_difference
    generator = torch.Generator().manual_seed(0)
    states = model.get_input_embeddings()(sample.long[None]).detach()
    signs = torch.randint(0, 2, states.shape, generator=generator) * 2 - 1
    with torch.no_grad():
        moved = model(inputs_embeds=states * (1 + signs * 2.0**-23), use_cache=False).logits
    expected = float((moved - logits(model, sample.long[None])).abs().max())
    assert 0 < found < 1e-3
    assert_close(found, expected, rtol=0.2, atol=0)


def test_rows_of_both_sequences_of_a_batch_are_compared_at_their_own_positions(dynamic, sample):
    positions = CHECKS["padded"](Reference(predictor(dynamic), sample)).positions
    assert positions.tolist() == [*range(SHORT), *range(LENGTH)]


def test_a_batch_is_run_without_and_with_position_ids(dynamic, sample):
    reference, seen = Reference(predictor(dynamic), sample), []

    def see(module, args, inputs):
        if inputs.get("attention_mask") is not None:
            seen.append(inputs.get("position_ids"))

    handle = dynamic.model.register_forward_pre_hook(see, with_kwargs=True)
    CHECKS["padded"](reference)
    handle.remove()
    assert seen[0] is None
    assert seen[1].tolist() == [[0] * 9 + [*range(1, SHORT)], [*range(LENGTH)]]


@pytest.mark.parametrize("length", [16, 17, 48, 320, 10_240])
def test_uneven_calls_are_a_split_of_the_sequence(length):
    calls = uneven_calls(length)
    assert [start for start, _ in calls] == [0, *(stop for _, stop in calls[:-1])]
    assert calls[-1][1] == length
    sizes = [stop - start for start, stop in calls]
    assert all(size % 2 for size in sizes[:-1])
    assert 3 < len(calls) < 20
    assert len(set(sizes)) > 1


@pytest.mark.parametrize(
    ("length", "trained_length", "prefill", "stop"),
    [(48, 32, 1, 48), (320, 256, 240, 320), (10_240, 8192, 8176, 8272), (300, 512, 268, 300)],
)
def test_decoding_crosses_the_trained_length_token_by_token(length, trained_length, prefill, stop):
    calls = decoding_calls(length, trained_length)
    assert calls[0] == (0, prefill)
    assert list(calls[1:]) == [(start, start + 1) for start in range(prefill, stop)]


def test_logits_compared_in_blocks_are_the_same(dynamic, monkeypatch):
    at_once = verify_stock(dynamic)
    monkeypatch.setattr("ropewalk.verification.gap.LOGITS_AT_ONCE", 97 * 5)
    for record, expected in zip(verify_stock(dynamic), at_once, strict=True):
        assert record["sentence"].partition("(")[0] == expected["sentence"].partition("(")[0]
        assert_close(figure(record), figure(expected), rtol=0, atol=1e-9)


def test_a_long_sequence_is_prefilled_first(dynamic):
    records = by_method(rw.verify(dynamic, ["dynamic_ntk"], length=160))["dynamic_ntk"]
    assert records["decode"]["sentence"].startswith("prefill of 16 tokens, then 96 one by one")
    assert set(statuses(records).values()) == {"ok"}


# What is asked for.


def test_an_omitted_factor_is_the_length_over_the_trained_length(monkeypatch):
    asked = []

    def refuse(self, spec, **given):
        asked.append(given)
        raise rw.RopewalkError("not now")

    monkeypatch.setattr(TransformersMethods, "applied", refuse)
    with pytest.raises(rw.RopewalkError, match="no method could run: not now"):
        rw.verify(small(num_hidden_layers=1), ["yarn"], length="2x")
    assert asked == [{"default_factor": 2.0, "context_length": 2 * L0}]


def test_a_method_that_the_model_refuses_is_told_with_its_reason():
    """Every layer slides within what it knows: only native can be put in."""
    model = small("mistral", sliding_window=24)
    shares = []
    records = by_method(
        rw.verify(
            model, ["none", "native"], listener=Heard(lambda work, share: shares.append(share))
        )
    )
    assert shares[-1] == 11 / 12
    assert set(statuses(records["native"]).values()) == {"ok"}
    assert set(statuses(records["none"]).values()) == {"not run"}
    assert "within a window" in records["none"]["padded"]["sentence"]
    with pytest.raises(rw.RopewalkError, match="no method could run: mistral"):
        rw.verify(model, ["none"])


@pytest.mark.parametrize(
    ("specs", "length", "message"),
    [
        (["yran"], None, "unknown method yran"),
        (["temperature"], None, "temperature without tau"),
        (["none"], 15, "expected at least 16 tokens"),
        (["none"], "twice", "length twice"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(specs, length, message, monkeypatch):
    model = small(num_hidden_layers=1)
    monkeypatch.setattr(model, "forward", None)
    with pytest.raises(rw.RopewalkError, match=message):
        rw.verify(model, specs, length=length)


@pytest.mark.parametrize("check", [rw.verify, verify_stock])
def test_an_extended_model_is_refused(check):
    model = small(num_hidden_layers=1)
    with rw.extend(model, "none"), pytest.raises(rw.RopewalkError, match=r"call \.remove\(\)"):
        check(model)


def test_stock_runs_a_family_that_extend_refuses(monkeypatch):
    """Then the floor of the dtype alone is allowed."""

    def refuse(self):
        raise rw.RopewalkError("not supported")

    monkeypatch.setattr(TransformersMethods, "native", refuse)
    records = verify_stock(small(dtype=torch.float32, num_hidden_layers=1))
    assert {record["status"] for record in records} == {"ok"}
    largest = {round(record["tolerance"] / 1e-4, 6) for record in records}
    assert all(1e-2 < each < 1e3 for each in largest)


# The command.


def test_the_document(folder, capsys):
    assert main(["verify", folder, "--method", "dynamic_ntk", "--json"]) == 0
    output, error = capsys.readouterr()
    document = json.loads(output)
    assert error == ""
    records = document.pop("records")
    layout = document.pop("layout")
    assert document == {
        "model": "tiny",
        "family": "llama",
        "trained_length": L0,
        "length": LENGTH,
        "dtype": "float32",
        "device": "cpu",
        "passed": True,
    }
    assert layout["layers"] == 2
    assert [record["check"] for record in records] == list(CHECKS)
    assert set(records[0]) == {
        "method",
        "check",
        "status",
        "max_logit_difference",
        "max_total_variation",
        "tolerance",
        "sentence",
        "rounding",
    }


def test_the_table(folder, capsys):
    specs = ["none", "dynamic_ntk:policy=at_birth"]
    assert main(["verify", folder, *(f"--method={spec}" for spec in specs)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["method", *CHECKS, "rounding", "share"] in lines
    rows = {line[0]: line for line in lines if line}
    assert rows["none"][-1] == "ok"
    assert 0 <= int(rows["none"][-2].removesuffix("%")) < 100
    assert rows[specs[1]][-4] == ">10000%"
    assert " ".join(rows[specs[1]][-3:]) == "differs, as declared"
    assert float(rows[specs[1]][2]) > 1e-2
    assert " ".join(rows["Of"]) == (
        "Of 2: one result, however tokens are fed: 1; differ, as declared: 1."
    )


def test_the_library_fails_and_ours_passes_on_the_same_model(dynamic_folder, capsys):
    assert main(["verify", dynamic_folder, "--stock"]) == 1
    output = capsys.readouterr().out
    assert "stock, decode: 48 tokens one by one: logits differ" in output
    assert "failed: chunked, decode, padded, history" in output
    assert main(["verify", dynamic_folder, "--method=native", "--method=dynamic_ntk"]) == 0
    assert "differs, as declared" in capsys.readouterr().out


def test_a_length_within_the_trained_one_is_said(folder, capsys):
    assert main(["verify", folder, "--method", "none", "--length", "0.75x"]) == 0
    assert "Nothing beyond the trained length was checked." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["./nothing"], "no such file or folder"),
        (["--stock", "--method", "yarn"], "stock has no methods"),
        (["--length", "many"], "expected tokens or a multiple"),
        (["--dtype", "float8"], "float8"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, message, capsys):
    assert main(["verify", *arguments]) == 2
    output, error = capsys.readouterr()
    assert output == ""
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error


def test_a_dtype_is_taken_by_its_name(folder):
    assert verify_checkpoint(folder, methods=["none"], dtype="float64")["dtype"] == "float64"
    with pytest.raises(rw.RopewalkError, match="dtype float8"):
        verify_checkpoint(folder, methods=["none"], dtype="float8")


def test_progress_names_the_work_and_never_goes_back():
    told = []
    rw.verify(
        small(num_hidden_layers=1),
        ["none", "yarn"],
        listener=Heard(lambda work, share: told.append((work, share))),
    )
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 11 / 12)
    assert told[-1][0] == "yarn, history"


# What is measured is shown and kept at once.


class Stopped(Exception):
    """As by an interrupt."""


class StopAfterOne(Silent):
    def finished(self, records):
        raise Stopped


def measured_methods(monkeypatch):
    """The methods that are put into a model from now on."""
    seen, applied = [], TransformersMethods.applied
    monkeypatch.setattr(
        TransformersMethods,
        "applied",
        lambda self, spec, **given: (seen.append(spec.text), applied(self, spec, **given))[1],
    )
    return seen


METHODS = ["yarn", "dynamic_ntk:policy=at_birth", "rerope"]


def test_a_run_that_was_stopped_goes_on_where_it_was(folder, tmp_path, monkeypatch):
    undisturbed = verify_checkpoint(folder, methods=METHODS)
    seen = measured_methods(monkeypatch)
    with pytest.raises(Stopped):
        verify_checkpoint(folder, methods=METHODS, out=tmp_path, listener=StopAfterOne())
    assert seen == METHODS[:1]
    seen.clear()
    resumed = verify_checkpoint(folder, methods=METHODS, out=tmp_path)
    assert seen == METHODS[1:]
    assert resumed == undisturbed
    seen.clear()
    spelled = ["yarn:beta_fast=32", *METHODS[1:]]
    again = verify_checkpoint(folder, methods=spelled, out=tmp_path)
    assert seen == []
    assert again["records"][0] == {**undisturbed["records"][0], "method": spelled[0]}
    assert again["records"][4:] == undisturbed["records"][4:]


@pytest.mark.parametrize("change", [{"length": 50}, {"dtype": "float64"}, {"weights": True}])
def test_a_run_folder_is_of_one_model_and_one_setting(folder, dynamic_folder, tmp_path, change):
    verify_checkpoint(folder, methods=["none"], out=tmp_path)
    other = dynamic_folder if change.pop("weights", False) else folder
    with pytest.raises(rw.RopewalkError, match="give another folder"):
        verify_checkpoint(other, methods=["none"], out=tmp_path, **change)


def test_what_could_not_run_or_is_no_number_is_tried_again(folder, tmp_path, monkeypatch):
    def refuse(self, spec, **given):
        raise rw.RopewalkError("not now")

    with monkeypatch.context() as patch:
        patch.setattr(TransformersMethods, "applied", refuse)
        with pytest.raises(rw.RopewalkError, match="not now"):
            verify_checkpoint(folder, methods=["yarn"], out=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Gap, "max_logit_difference", property(lambda self: INF))
        patch.setattr(
            Tolerances,
            "of",
            lambda *given: Tolerances(
                by_check=dict.fromkeys(CHECKS, 1.0), rounding=1.0, trained_length=L0
            ),
        )
        found = verify_checkpoint(folder, methods=["yarn"], out=tmp_path / "infinite")
    assert found["records"][0]["max_logit_difference"] == INF
    for out in (tmp_path, tmp_path / "infinite"):
        found = verify_checkpoint(folder, methods=["yarn"], out=out)
        assert {record["status"] for record in found["records"]} == {"ok"}


def test_lines_are_printed_as_they_are_measured(folder, monkeypatch, capsys):
    shown, applied = [], TransformersMethods.applied

    def look(self, spec, **given):
        shown.append(capsys.readouterr().out)
        return applied(self, spec, **given)

    monkeypatch.setattr(TransformersMethods, "applied", look)
    assert main(["verify", folder, "--method", "yarn", "--method", "dynamic_ntk"]) == 0
    before, between = shown
    assert before.startswith("tiny: largest difference of a logit")
    header, yarn = between.splitlines()
    assert header.split() == ["method", *CHECKS, "rounding", "share"]
    assert yarn.split()[0] == "yarn"
    assert yarn.endswith("ok")
    assert capsys.readouterr().out.splitlines()[0].split()[0] == "dynamic_ntk"


def test_stock_keeps_nothing(tmp_path, capsys):
    assert main(["verify", "--stock", "--out", str(tmp_path)]) == 2
    assert "drop --out" in capsys.readouterr().err
