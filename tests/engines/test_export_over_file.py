"""An export over a .gguf file: what the file says is not asked for again in flags."""

import re

import pytest

import gguf_files
import ropewalk as rw
from gguf_files import CONTEXT

DIVISORS = [1.0, 1.0, 1.5, 2.0, 4.0, 8.0, 8.0, 8.0]
TURNS = {"rope.dimension_count": 16, "rope.freq_base": 5e5}


@pytest.fixture
def divided(tmp_path):
    return str(gguf_files.write(tmp_path / "a.gguf", "llama", TURNS, {"rope_freqs": DIVISORS}))


@pytest.mark.parametrize(
    "fields",
    [{}, {"rope.scaling.attn_factor": 1.25}, {"rope.scaling.factor": 2.0}],
    ids=["divisors", "and a magnitude", "and a factor"],
)
def test_native_is_the_file_as_it_lies_there(tmp_path, fields):
    """By its tensor and keys, which no flag could say; only the length is asked for."""
    file = gguf_files.write(tmp_path / "a.gguf", "llama", TURNS | fields, {"rope_freqs": DIVISORS})
    document = rw.export(str(file), "native", "llama.cpp")
    assert (document["config"], document["flags"]) == ({}, ["-c", str(CONTEXT)])
    assert document["command"] == f"llama-server -m MODEL.gguf -c {CONTEXT}"
    assert document["notes"] == ["the file says it itself, in rope_freqs.weight"]
    assert document["checked"]["inv_freq"] < 1e-6
    found = rw.audit(str(file), CONTEXT)["engines"]["llama.cpp"]
    shown = rw.inspect(str(file))
    assert shown["inv_freq"] == pytest.approx(found["inv_freq"], rel=1e-6)
    assert shown["attention_factor"] == pytest.approx(found["attention_factor"])


def test_a_longer_context_than_the_file_states_is_admitted(divided):
    document = rw.export(divided, "native", "llama.cpp", 4 * CONTEXT)
    raised = f"llama.context_length=int:{4 * CONTEXT}"
    assert document["flags"] == ["--override-kv", raised, "-c", str(4 * CONTEXT)]
    assert document["checked"]["admitted"] == 4 * CONTEXT


def test_a_method_in_flags_would_stack_with_the_tensor(divided):
    with pytest.raises(rw.RopewalkError, match="stacks with them"):
        rw.export(divided, "linear:factor=2", "llama.cpp")


def test_lists_of_two_lengths_are_chosen_by_the_slot(tmp_path):
    """One native of two lists follows the sequence, which no slot does: the message says how."""
    lists = {"rope_factors_short": [1.0] * 8, "rope_factors_long": DIVISORS}
    fields = {"rope.dimension_count": 16, "rope.scaling.original_context_length": 64}
    file = gguf_files.write(tmp_path / "a.gguf", "phi3", fields, lists)
    with pytest.raises(rw.RopewalkError, match="-c 128 alone"):
        rw.export(str(file), "native", "llama.cpp")


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("transformers", r"drops rope_freqs\.weight of the file"),
        ("sglang", r"drops rope_freqs\.weight of the file"),
        ("vllm", "has no GGUF loader"),
    ],
)
def test_another_engine_is_told_of_the_checkpoint_not_of_the_file(divided, engine, said):
    (*_, note) = rw.export(divided, "native", engine)["notes"]
    assert note.startswith(engine)
    assert re.search(said, note)
    assert "config.json has to state the same scaling" in note
