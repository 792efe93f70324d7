"""Every form of generation gives the same text: that of greedy steps over full passes."""

import multiprocessing

import pytest
import torch
from tokenizers import Tokenizer, models
from torch.testing import assert_close
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
    pipeline,
)

import ropewalk as rw
from in_use import EXACT, IDS, SEAMS, SPECS, full, small
from recipes.families.sharpened import VOCABULARY, left_padded, sharpen, tiny, token_ids

PROMPT, NEW = IDS[:, :26], 14
"""The prompt ends below the trained length of 32, the answer above it."""
INDEPENDENT = pytest.mark.parametrize("spec", SPECS[:3])
"""Of the path; keys that settle at birth are a function of it."""


def generated(model, **settings):
    given = {"input_ids": PROMPT} if "inputs_embeds" not in settings else {}
    settings = {"max_new_tokens": NEW, "do_sample": False, **given, **settings}
    return model.generate(**settings)


FORMS = {
    "chunked prefill": lambda model: {"prefill_chunk_size": 7},
    "prompt lookup": lambda model: {"prompt_lookup_num_tokens": 3},
    "assistant": lambda model: {"assistant_model": tiny(num_hidden_layers=1)},
    "static cache": lambda model: {"cache_implementation": "static"},
    "no cache": lambda model: {"use_cache": False},
}


@pytest.mark.parametrize("form", FORMS)
@INDEPENDENT
def test_every_form_gives_the_text_of_plain_steps(spec, form):
    model = small()
    with rw.extend(model, spec):
        expected = generated(model)
        assert torch.equal(generated(model, **FORMS[form](model)), expected)


@INDEPENDENT
def test_embeddings_in_the_place_of_tokens(spec):
    model = small()
    with rw.extend(model, spec):
        embedded = model.get_input_embeddings()(PROMPT)
        assert torch.equal(generated(model, inputs_embeds=embedded), generated(model)[:, 26:])


@INDEPENDENT
def test_samples_are_those_without_a_cache(spec):
    model, found = small(), []
    with rw.extend(model, spec):
        for use_cache in (True, False):
            torch.manual_seed(0)
            found.append(generated(model, do_sample=True, use_cache=use_cache))
    assert torch.equal(*found)


@INDEPENDENT
def test_a_second_turn_goes_on_from_the_cache_of_the_first(spec):
    model, more = small(), token_ids(1, 5, seed=3)
    with rw.extend(model, spec):
        first = generated(model, return_dict_in_generate=True)
        text = torch.cat([first.sequences, more], dim=1)
        second = generated(model, input_ids=text, past_key_values=first.past_key_values)
        assert torch.equal(second, generated(model, input_ids=text))


@INDEPENDENT
def test_hidden_tokens_inside_a_sequence_are_as_if_they_were_not_there(spec):
    model, mask = small(), torch.ones_like(IDS)
    mask[:, [0, 1, 9, 10, 20, 33]] = 0
    with rw.extend(model, spec):
        found = full(model, attention_mask=mask)[mask.bool()]
        assert_close(found, full(model, IDS[mask.bool()][None])[0], **EXACT)


@SEAMS
def test_a_classifier_reads_each_text_alone(spec):
    config = AutoConfig.for_model(**{**tiny(num_hidden_layers=2).config.to_dict(), "num_labels": 3})
    model = sharpen(AutoModelForSequenceClassification.from_config(config).eval()).double()
    ids, mate = token_ids(1, 37), token_ids(1, 44, seed=1)
    both, mask = left_padded(ids, 44, mate)
    with rw.extend(model, spec):
        found = full(model, both, attention_mask=mask)
        alone = torch.cat([full(model, ids), full(model, mate)])
    assert_close(found, alone, **EXACT)


@INDEPENDENT
def test_a_pipeline_gives_the_same_text(spec):
    words = {f"w{number}": number for number in range(VOCABULARY)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="w0")), pad_token="w0"
    )
    tokenizer.backend_tokenizer.pre_tokenizer = None
    model, prompt = small(dtype=torch.float32), "w7"
    with rw.extend(model, spec):
        write = pipeline("text-generation", model=model, tokenizer=tokenizer)
        (found,) = write(prompt, max_new_tokens=40, do_sample=False, return_tensors=True)
        expected = model.generate(torch.tensor([[7]]), max_new_tokens=40, do_sample=False)
    assert found["generated_token_ids"] == expected[0].tolist()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@SEAMS
def test_a_forked_process_computes_the_same(spec):
    model, processes = small(), multiprocessing.get_context("fork")
    with rw.extend(model, spec):
        expected = full(model)
        ours, theirs = processes.Pipe(duplex=False)
        child = processes.Process(target=lambda: theirs.send(full(model).numpy()))
        child.start()
        try:
            assert ours.poll(60)
            assert_close(torch.from_numpy(ours.recv()), expected, **EXACT)
        finally:
            child.kill()
            child.join()
