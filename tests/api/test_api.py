"""perplexity, against the logits of the model itself."""

import math

import pytest
import torch
from short_windows import TAIL, WINDOWS, perplexity

import ropewalk as rw
from recipes.families.sharpened import logits, token_ids

PROBES = (1, 24)
"""Tokens of the passes with which ``extend`` looks at a model."""


def own_losses(model, ids):
    """-log p of each token but the first."""
    log_probabilities = logits(model, ids[None], use_cache=False)[0].log_softmax(-1)
    return -log_probabilities[:-1].gather(1, ids[1:, None])[:, 0]


def tail_windows(ids, length):
    """The last ``length`` tokens before each window's end: N, N - N // 4."""
    for end in (len(ids), len(ids) - len(ids) // (2 * WINDOWS)):
        yield ids[end - length : end]


def test_perplexity_of_ids_is_the_mean_over_all_scored_tokens(llama):
    documents = [token_ids(1, 200, seed=1)[0], token_ids(1, 300, seed=2)[0]]
    records = perplexity(llama, documents, [20, 60])
    assert [record["length"] for record in records] == [20, 60]
    for record in records:
        losses = torch.cat(
            [
                own_losses(llama, window)[-TAIL:]
                for ids in documents
                for window in tail_windows(ids, record["length"])
            ]
        )
        assert record["tokens_scored"] == len(losses) == 2 * WINDOWS * TAIL
        assert record["nll"] == pytest.approx(losses.mean().item(), abs=1e-5)
        assert record["ppl"] == pytest.approx(math.exp(record["nll"]), rel=1e-12)
        assert record["bits_per_byte"] is None
        assert (record["method"], record["mode"], record["status"]) == ("native", "full", "ok")


def test_perplexity_of_text_counts_the_bytes_of_what_it_scored(llama, text, tokenizer):
    """Decoded tokens are the bytes: windows here begin and end between letters."""
    ids = torch.tensor(tokenizer(text)["input_ids"])
    (record,) = perplexity(llama, [text], [60], tokenizer=tokenizer, windows=1, tail_tokens=40)
    scored = ids[-40:]
    size = len(tokenizer.decode(scored).encode())
    total = own_losses(llama, ids[-60:])[-40:].sum().item()
    assert text.endswith(tokenizer.decode(scored))
    assert record["nll"] == pytest.approx(total / 40, abs=1e-5)
    assert record["bits_per_byte"] == pytest.approx(total / math.log(2) / size, abs=1e-5)


def test_text_needs_a_tokenizer(llama):
    with pytest.raises(rw.RopewalkError, match="document 2 is text"):
        perplexity(llama, [token_ids(1, 200)[0], "text"], [20])


def test_an_omitted_factor_is_the_longest_length_over_the_trained_length(llama):
    (ids,) = token_ids(1, 300)
    omitted = perplexity(llama, [ids], [20, 80], methods=["yarn"])
    given = perplexity(llama, [ids], [20, 80], methods=["yarn:factor=2.5"])
    another = perplexity(llama, [ids], [20, 64], methods=["yarn"])
    assert [r["nll"] for r in omitted] == [r["nll"] for r in given]
    assert another[0]["nll"] != omitted[0]["nll"]
    below = perplexity(llama, [ids], [10, 20], methods=["yarn", "none"])
    assert below[0]["nll"] == pytest.approx(below[2]["nll"], abs=1e-12)


def test_a_factor_from_the_length_is_each_cell_s_own(llama):
    (ids,) = token_ids(1, 300)
    records = perplexity(llama, [ids], [20, 48, 80], methods=["yarn:factor=length"])
    for record, factor in zip(records, (1.0, 1.5, 2.5), strict=True):
        (alone,) = perplexity(llama, [ids], [record["length"]], methods=[f"yarn:factor={factor}"])
        assert record["nll"] == alone["nll"]


@pytest.mark.parametrize("mode", ["full", "chunked:7", "decode"])
def test_modes_agree_for_a_method_that_does_not_depend_on_the_path(llama, mode):
    (ids,) = token_ids(1, 300)
    (full,) = perplexity(llama, [ids], [60], methods=["dynamic_ntk"])
    (other,) = perplexity(llama, [ids], [60], methods=["dynamic_ntk"], modes=[mode])
    assert other["mode"] == mode
    assert other["nll"] == pytest.approx(full["nll"], abs=1e-6)


def test_perplexity_leaves_the_model_as_it_was(llama):
    (ids,) = token_ids(1, 100)
    before = logits(llama, ids[None])
    perplexity(llama, [ids], [20], methods=["yarn", "log_n"])
    assert torch.equal(logits(llama, ids[None]), before)
    with pytest.raises(rw.RopewalkError):
        perplexity(llama, [ids], [20], methods=["yarn", "yarns"])
    assert torch.equal(logits(llama, ids[None]), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ["yarn", "yarn"]}, "given twice"),
        ({"methods": ["yarm"]}, "did you mean yarn"),
        ({"modes": ["fully"]}, "expected full, stream"),
        ({"protocol": "head"}, "expected one of tail"),
        ({"lengths": [1]}, "at least 2"),
        ({"documents": []}, "document"),
        ({"documents": [torch.zeros(1, dtype=torch.long)]}, "at least 2"),
    ],
)
def test_bad_requests_are_refused(llama, options, message):
    request = {"documents": [token_ids(1, 100)[0]], "lengths": [20], **options}
    with pytest.raises(rw.RopewalkError, match=message):
        perplexity(llama, request.pop("documents"), request.pop("lengths"), **request)


class Passes:
    """Lengths of the sequences that a model was fed, probes of the hook left out."""

    def __init__(self, model):
        self.fed = []
        self.handle = model.model.register_forward_hook(self._see)

    def _see(self, module, args, out):
        if out.last_hidden_state.shape[1] not in PROBES:
            self.fed.append(out.last_hidden_state.shape[1])


@pytest.mark.parametrize(
    ("method", "fed"),
    [
        ("yarn", [80] * WINDOWS),
        ("dynamic_ntk", [80] * WINDOWS),
        ("yarn:factor=length", [20] * WINDOWS + [48] * WINDOWS + [80] * WINDOWS),
        ("dynamic_ntk:policy=whole_sequence", [20] * WINDOWS + [48] * WINDOWS + [80] * WINDOWS),
    ],
)
def test_a_curve_costs_one_pass_where_one_pass_serves_all_lengths(llama, method, fed):
    (ids,) = token_ids(1, 400)
    passes = Passes(llama)
    records = perplexity(llama, [ids], [20, 48, 80], methods=[method], protocol="curve")
    passes.handle.remove()
    assert passes.fed == fed
    spec = "yarn:factor=2.5" if method == "yarn" else method
    for record in records:
        (alone,) = perplexity(llama, [ids], [record["length"]], methods=[spec], protocol="curve")
        assert record["nll"] == pytest.approx(alone["nll"], abs=1e-6)
