"""Results that show themselves, figures, and configs in every form that a user has."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

import ropewalk as rw
from reporting.run_folders import document, loss_cell, usual
from ropewalk.api import CompareResult
from ropewalk.data import demo_model
from ropewalk.integrations.loading import load_model

CONFIG = {
    "model_type": "llama", "hidden_size": 256, "num_attention_heads": 4, "head_dim": 64,
    "num_hidden_layers": 2, "rope_theta": 10_000.0, "max_position_embeddings": 512,
}  # fmt: skip


def result(content, tmp_path):
    return CompareResult(document=content, run_dir=tmp_path)


def test_a_result_is_a_table_in_a_notebook_and_a_frame(tmp_path):
    shown = result(usual(), tmp_path)
    html = shown._repr_html_()
    assert "<td>83.10 [75.19, 91.84] *</td>" in html
    assert "not worse: dual_chunk" in html
    frame = shown.to_frame()
    assert len(frame) == len(usual()["cells"])
    assert frame[frame["method"] == "none"]["nll"].tolist()[:2] == [4.5, 4.4]
    assert repr(shown) == f"CompareResult(tiny: 18 of 22 cells measured, in {tmp_path})"


def test_a_notebook_shows_text_as_text(tmp_path):
    hostile = document(loss_cell("<script>x</script>", 256, 4.0))
    assert "<script" not in result(hostile, tmp_path)._repr_html_()


@pytest.mark.parametrize("name", ["distances", "angles", "wavelengths", "reach", "decay"])
def test_a_picture_is_a_figure(name):
    small = {**CONFIG, "max_position_embeddings": 16}
    assert getattr(rw.plot, name)(small).get_axes()


def test_curves_are_drawn_of_a_result(tmp_path):
    figure = rw.plot.curves(result(usual(), tmp_path))
    labels = {line.get_label() for line in figure.axes[0].lines}
    assert {"none", "rerope", "dual_chunk"} <= labels


def test_a_config_may_be_keys_a_path_a_config_object_or_a_model(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    library = AutoConfig.from_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**{**CONFIG, "vocab_size": 8}))
    forms = (CONFIG, str(tmp_path / "config.json"), tmp_path / "config.json", library, model)
    found = [rw.inspect(form, "4x") for form in forms]
    assert all(each["inv_freq"] == found[0]["inv_freq"] for each in found)
    assert {each["context_length"] for each in found} == {2048}


def test_a_length_may_be_written_in_trained_lengths():
    assert rw.plan(CONFIG, "4x") == rw.plan(CONFIG, 2048)
    assert rw.audit(CONFIG, "2x") == rw.audit(CONFIG, 1024)
    assert rw.export(CONFIG, "yarn:factor=4", "vllm", "4x") == rw.export(
        CONFIG, "yarn:factor=4", "vllm", 2048
    )
    with pytest.raises(rw.RopewalkError, match="length 4y"):
        rw.plan(CONFIG, "4y")


def test_weights_that_are_no_numbers_are_named(tmp_path):
    for file in demo_model().iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (weights,) = tmp_path.glob("*.safetensors")
    tensors = load_file(weights)
    name = next(key for key, value in tensors.items() if value.ndim == 2)
    tensors[name][0, 0] = torch.nan
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(rw.RopewalkError, match=r"1 of [\d,]+ numbers of .* are NaN or infinite"):
        load_model(tmp_path)


def test_an_extension_says_what_is_in_force():
    model = load_model(demo_model(), device=torch.device("cpu")).model
    with rw.extend(model, "yarn:factor=4") as extension:
        count = model.config.num_hidden_layers
        assert f"{count} of {count} layers changed" in repr(extension)
        assert extension.describe()["fingerprint"] in repr(extension)
