"""A transformers model that has read: answers are those of its own logits, however it read."""

import pytest
import torch
from torch.testing import assert_close

import ropewalk as rw
from recipes.families.sharpened import logits, tiny, token_ids
from ropewalk.core.errors import RopewalkError
from ropewalk.core.passes import ChunkedPass, DecodePass, FullPass, StreamPass
from ropewalk.integrations.scoring import TransformersScorer

PASSES = (FullPass(), ChunkedPass(7), DecodePass(), StreamPass())
# The library's norms round to float32 in an order that depends on the number of rows.
SAME = {"rtol": 0, "atol": 1e-6}
METHODS = ("native", "yarn:factor=4", "self_extend:group_size=4,window=16")


@pytest.fixture(scope="module", params=["llama", "granite", "qwen2 sliding"])
def model(request):
    return tiny(request.param, num_hidden_layers=2)


@pytest.mark.parametrize("split", PASSES, ids=lambda split: split.name)
@pytest.mark.parametrize(
    "method", ["native", "yarn:factor=4", "self_extend:group_size=4,window=16"]
)
def test_forced_losses_are_those_of_one_plain_forward(model, method, split):
    prompts, more = token_ids(2, 40), token_ids(2, 6).flip(-1)
    with rw.extend(model, method):
        whole = logits(model, torch.cat([prompts, more], dim=1), use_cache=False)[:, 39:-1]
        reader = TransformersScorer(model).read(prompts, split)
        for _ in range(2):  # asking changes nothing
            losses, most_likely = reader.forced(more)
            expected = -whole.log_softmax(-1).gather(2, more[..., None])[..., 0]
            assert losses.dtype == torch.float64
            assert_close(losses, expected.double(), **SAME)
            assert torch.equal(most_likely, whole.argmax(-1) == more)
        one, _ = reader.forced(more[:, :1])
        assert_close(one, losses[:, :1], **SAME)


@pytest.mark.parametrize("split", PASSES, ids=lambda split: split.name)
def test_greedy_answers_are_those_of_generate(model, split):
    prompts = token_ids(2, 40)
    stock = model.generate(prompts, max_new_tokens=5, min_new_tokens=5, do_sample=False)[:, 40:]
    reader = TransformersScorer(model).read(prompts, split)
    for _ in range(2):
        assert torch.equal(reader.greedy(5, ()), stock)
    stop = int(stock[0, 1])
    ended = reader.greedy(5, {stop, int(stock[1, 0])})
    assert torch.equal(ended, stock[:, : ended.shape[1]])
    assert 1 < ended.shape[1] < 5


def test_ids_of_another_model_s_tokenizer_are_told_before_they_are_looked_up():
    """On a GPU an embedding that is not there ends the process, and with it the run."""
    model = tiny("llama", num_hidden_layers=2)
    scorer, ids = TransformersScorer(model), token_ids(1, 8)
    known = model.get_input_embeddings().num_embeddings
    beyond = torch.cat([ids, torch.tensor([[known]])], dim=1)
    for ask in (
        lambda: scorer.token_losses(beyond[0], 1, FullPass()),
        lambda: scorer.read(beyond, FullPass()),
        lambda: scorer.read(ids, FullPass()).forced(beyond),
    ):
        with pytest.raises(RopewalkError, match=f"id {known}: .*ids below {known}; expected the t"):
            ask()
