"""Each family under each kind of method: one result, however a sequence is fed.

Full pass = chunked prefill = token-by-token decoding = left-padded batch, in float64, across
the trained length; ``native`` is the model itself. Mutants show that each comparison can fail.
"""

import pytest
import torch
from agreement import LENGTH, SHORT, SIZES, STEPS, agree, agree_in_calls, agree_when_padded
from torch.testing import assert_close

import ropewalk as rw
from recipes.families.sharpened import (
    ENCODERS,
    FAMILIES,
    L0,
    MORE_FAMILIES,
    in_calls,
    left_padded,
    logits,
    tiny,
    token_ids,
)
from representative import PARAMETERS
from ropewalk.core.errors import RopewalkError
from ropewalk.methods.method import Promise
from ropewalk.methods.spec import NAMES
from ropewalk.methods.table import METHODS

SPECS = (
    "native",
    "yarn:factor=2.5",
    "dynamic_ntk",
    "dynamic_ntk:step=8",
    "dynamic_ntk:policy=fixed,length=80",
    "dynamic_yarn+log_n",
    "rerope:window=12",
)


MAPS = (
    *("rerope", "rerope:window=5", "leaky_rerope:factor=2.5", "inverse_leaky_rerope"),
    *("self_extend:factor=2.5", "self_extend:group_size=4,window=9"),
    *(
        "dual_chunk",
        "dual_chunk:chunk_size=12,local_window=4",
        "string",
        "string:shift=20,window=8",
    ),
    *(
        "rerope:window=12+dynamic_ntk:step=8",
        "dual_chunk+yarn:factor=2.5",
        "self_extend:factor=2.5+log_n",
    ),
)
"""Each map as it is by default and with small regions, and maps over other frequencies."""


SAME = {"rtol": 0, "atol": 1e-9}


PAIRS = 8


LISTS = {
    "short_factor": tuple(1 + i / 16 for i in range(PAIRS)),
    "long_factor": tuple(1 + i / 4 for i in range(PAIRS)),
    "start_tokens": 4,
}


@pytest.fixture(scope="module")
def llama():
    return tiny()


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return tiny(request.param)


def needs_training(name):
    return name in METHODS and Promise.TRAINED in METHODS[name].promises


@pytest.mark.parametrize("spec", SPECS)
def test_a_family_gives_one_result(family, spec):
    with rw.extend(family, spec):
        agree(family)


def test_native_is_the_model_itself(family):
    ids = token_ids(2, LENGTH)
    stock = logits(family, ids)
    with rw.extend(family, "native"):
        assert_close(logits(family, ids), stock, rtol=0, atol=2e-6)


@pytest.fixture(scope="module", params=MORE_FAMILIES)
def other_family(request):
    return tiny(request.param)


def own_gap(model):
    """What the family itself differs by between one call and several, in float64.

    Not zero where a router, a norm or a rotation runs in float32.
    """
    ids = token_ids(1, LENGTH)
    full = logits(model, ids)
    return max((in_calls(model, ids, sizes) - full).abs().max().item() for sizes in (SIZES, STEPS))


@pytest.mark.parametrize("spec", ["native", "dynamic_ntk:step=8", "rerope:window=12"])
def test_another_family_gives_one_result(other_family, spec):
    """To 1e-9, or to twenty times the family's own gap."""
    room = max(1e-9, 20 * own_gap(other_family))
    assert room < 1e-4
    with rw.extend(other_family, spec) as extension:
        assert (extension.describe()["layers_changed"] > 0) == (spec != "native")
        agree_in_calls(other_family, room)
        if spec != "native" or not_a_number_when_padded(other_family) != ["gemma2"]:
            agree_when_padded(other_family, room)


def not_a_number_when_padded(model):
    """The family's name in a list, if its own float64 logits of a padded batch are not finite.

    Gemma 2's own attention casts a float64 mask to float32 before the softmax; ``native``
    leaves that attention in place.
    """
    both, mask = left_padded(token_ids(1, SHORT), LENGTH, token_ids(1, LENGTH))
    finite = logits(model, both, attention_mask=mask).isfinite().all()
    return [] if finite else [model.config.model_type]


def test_another_family_s_native_is_the_model_itself(other_family):
    ids = token_ids(1, LENGTH)
    stock = logits(other_family, ids)
    with rw.extend(other_family, "native"):
        assert_close(logits(other_family, ids), stock, rtol=0, atol=2e-6)


def test_native_through_our_own_attention_is_the_model_itself(family):
    """The other seam: tau = 1 changes nothing, but takes attention into our hands."""
    ids = token_ids(2, LENGTH)
    stock = logits(family, ids)
    with rw.extend(family, "native+temperature:tau=1") as extension:
        assert extension.describe()["seam"].startswith("an attention function")
        # The library's angles are float32; see LibraryRounding.
        assert_close(logits(family, ids), stock, rtol=0, atol=3e-4)


@pytest.fixture(scope="module", params=[*FAMILIES, *MORE_FAMILIES, *ENCODERS])
def any_family(request):
    return tiny(request.param)


def test_a_shift_of_half_the_positions_shows(any_family):
    """What makes the comparisons of this file worth something.

    In the library's own model, with a mask: without one it takes a jump for another sequence.
    """
    ids = token_ids(1, LENGTH)
    shifted = torch.arange(LENGTH)[None] + (torch.arange(LENGTH)[None] >= LENGTH // 2)
    moved = logits(any_family, ids, position_ids=shifted, attention_mask=torch.ones_like(ids))
    assert (moved - logits(any_family, ids)).abs().max() > 1e-3


@pytest.mark.parametrize("name", [n for n in NAMES if not needs_training(n)])
def test_every_method_gives_one_result(llama, name):
    parameters = dict(LISTS, factor=4) if name == "longrope" else PARAMETERS.get(name, {})
    with rw.extend(llama, name, **parameters):
        agree(llama, steps=(1,) * LENGTH)


@pytest.mark.parametrize("name", [n for n in NAMES if needs_training(n)])
def test_what_has_to_be_trained_is_refused(llama, name):
    with pytest.raises(RopewalkError, match="trained with a model"):
        rw.extend(llama, name)


@pytest.mark.parametrize("spec", MAPS)
@pytest.mark.parametrize("name", ["llama", "gemma3_text wide"])
def test_every_map_gives_one_result(name, spec):
    """Two layers: one that slides over 48 tokens and one that does not, in the second family."""
    model = tiny(name, num_hidden_layers=2)
    with rw.extend(model, spec):
        agree(model)


@pytest.mark.parametrize("policy", ["whole_sequence", "at_birth"])
def test_policies_that_depend_on_the_path_do(llama, policy):
    ids = token_ids(1, LENGTH)
    with rw.extend(llama, f"dynamic_ntk:policy={policy}"):
        full = logits(llama, ids)
        assert (in_calls(llama, ids, [1] * LENGTH) - full).abs().max() > 1e-3
        short = logits(llama, ids[:, :L0])
        assert_close(in_calls(llama, ids[:, :L0], [1] * L0), short, **SAME)


@pytest.mark.parametrize("policy", ["whole_sequence", "at_birth"])
def test_padding_changes_nothing_under_any_policy(llama, policy):
    ids, mate = token_ids(1, SHORT), token_ids(1, LENGTH, seed=1)
    both, mask = left_padded(ids, LENGTH, mate)
    with rw.extend(llama, f"dynamic_ntk:policy={policy}"):
        padded = logits(llama, both, attention_mask=mask)
        assert_close(padded[:1, LENGTH - SHORT :], logits(llama, ids), **SAME)
        assert_close(padded[1:], logits(llama, mate), **SAME)


def test_a_fixed_length_equals_the_static_base(llama):
    """Dynamic NTK at a fixed L is plain RoPE with the base of that L."""
    base = 10_000.0 * (2 * LENGTH / L0 - 1) ** (16 / 14)
    ids = token_ids(1, LENGTH)
    with rw.extend(llama, f"dynamic_ntk:policy=fixed,length={LENGTH}"):
        fixed = logits(llama, ids)
    with rw.extend(llama, f"abf:rope_theta={base!r}"):
        assert_close(fixed, logits(llama, ids), **SAME)


def test_per_query_gives_each_row_the_logits_of_its_own_length(llama):
    """A full pass must give row m what a model with the base of m + 1 gives as its last row,

    when every earlier token was computed under its own base too: compare the first layer's
    output only, where no earlier hidden state depends on a base.
    """
    model = tiny(num_hidden_layers=1)
    ids = token_ids(1, LENGTH)
    with rw.extend(model, "dynamic_ntk"):
        rows = logits(model, ids)
    for length in (L0, L0 + 1, 57, LENGTH):
        base = 10_000.0 * (2 * length / L0 - 1) ** (16 / 14)
        with rw.extend(model, f"abf:rope_theta={base!r}"):
            last = logits(model, ids[:, :length])[:, -1]
        assert_close(rows[:, length - 1], last, **SAME)


def test_a_step_gives_each_row_the_base_of_its_bucket(llama):
    model = tiny(num_hidden_layers=1)
    ids = token_ids(1, LENGTH)
    with rw.extend(model, "dynamic_ntk:step=8"):
        rows = logits(model, ids)
    for length, bucket in ((L0, L0), (L0 + 1, L0 + 8), (L0 + 8, L0 + 8), (L0 + 9, L0 + 16)):
        base = 10_000.0 * (2 * bucket / L0 - 1) ** (16 / 14)
        with rw.extend(model, f"abf:rope_theta={base!r}"):
            last = logits(model, ids[:, :length])[:, -1]
        assert_close(rows[:, length - 1], last, **SAME)
