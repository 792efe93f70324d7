"""Models in wrappers: adapters, offload, autocast, quantised weights."""

import pytest
import torch
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

import ropewalk as rw
from in_use import IDS, LONG, SEAMS, SPECS, UNCHANGED, small
from recipes.families.sharpened import in_calls, left_padded, logits, token_ids
from ropewalk.integrations.extension import EXTENSION

peft = pytest.importorskip("peft")


def adapted(kind, base=None, **settings):
    """Random adapter weights: PEFT's own start changes nothing."""
    wanted = kind(task_type="CAUSAL_LM", **settings)
    base = small(dtype=torch.float32, max_position_embeddings=LONG) if base is None else base
    model = peft.get_peft_model(base, wanted)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            size = 0.3 if "lora" in name else 1.0
            with torch.no_grad():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * size)
    return model.eval()


def lora():
    return adapted(peft.LoraConfig, r=4, target_modules=["q_proj", "v_proj"])


def greedy(model, ids=IDS):
    return model.generate(input_ids=ids, max_new_tokens=4, min_new_tokens=4, do_sample=False)


@pytest.mark.filterwarnings("ignore:Position ids are not supported")
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
class TestAdapters:
    @UNCHANGED
    def test_lora(self, spec):
        model = lora()
        stock, text = logits(model, IDS), greedy(model)
        with model.disable_adapter():
            assert (logits(model, IDS) - stock).abs().max() > 1e-2
        with rw.extend(model, spec):
            assert_close(logits(model, IDS), stock, rtol=0, atol=2e-5)
            assert torch.equal(greedy(model), text)
        assert torch.equal(logits(model, IDS), stock)

    @SEAMS
    def test_an_adapter_trains_and_saves(self, spec, tmp_path):
        model = lora().train()
        with rw.extend(model, spec):
            model(IDS, labels=IDS, use_cache=False).loss.backward()
            model.save_pretrained(tmp_path)
        base = small(dtype=torch.float32, max_position_embeddings=LONG)
        again = peft.PeftModel.from_pretrained(base, tmp_path)
        assert_close(logits(again, IDS), logits(model.eval(), IDS), rtol=0, atol=1e-6)
        gradients = [p.grad for p in model.parameters() if p.requires_grad]
        assert gradients
        assert all(g is not None and g.isfinite().all() and g.any() for g in gradients)

    @SEAMS
    def test_an_adapter_that_is_merged_is_not_saved_as_a_whole(self, spec, tmp_path):
        model = lora()
        with rw.extend(model, spec), pytest.raises(rw.RopewalkError, match="is not saved"):
            model.merge_and_unload().save_pretrained(tmp_path)
        assert not list(tmp_path.iterdir())

    @SEAMS
    def test_two_forwards_before_one_backward_through_an_adapter(self, spec):
        """Persimmon, whose attention is not told of positions: those of each pass are its own."""
        base = small("persimmon")
        model = adapted(peft.LoraConfig, base, r=4, target_modules="all-linear").train().double()
        mate = token_ids(1, 40)
        batches = [left_padded(token_ids(1, n, seed=n), 40, mate) for n in (31, 38)]

        def losses():
            for ids, mask in batches:
                out = model(ids, attention_mask=mask, use_cache=False).logits
                yield (out * mask[..., None]).square().mean()

        def gradients():
            found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
            model.zero_grad()
            return found

        with rw.extend(model, spec):
            for each in losses():
                each.backward()
            apart = gradients()
            sum(list(losses())).backward()
            assert_close(gradients(), apart, rtol=1e-9, atol=1e-12)

    @UNCHANGED
    def test_prompt_tuning(self, spec):
        model = adapted(peft.PromptTuningConfig, num_virtual_tokens=5)
        stock, text = logits(model, IDS), greedy(model)
        with rw.extend(model, spec):
            assert_close(logits(model, IDS), stock, rtol=0, atol=2e-5)
            assert torch.equal(greedy(model), text)

    def test_prefix_tuning_keeps_its_rotated_keys(self):
        """The rotary seam reads them as the model does; un-rotated keys they are not."""
        model = adapted(peft.PrefixTuningConfig, num_virtual_tokens=5)
        stock, text = logits(model, IDS), greedy(model)
        with rw.extend(model, "native"):
            assert_close(logits(model, IDS), stock, rtol=0, atol=2e-5)
            assert torch.equal(greedy(model), text)
        with (
            rw.extend(model, "dynamic_ntk"),
            pytest.raises(rw.RopewalkError, match="learned prefix"),
        ):
            logits(model, IDS)

    def test_perplexity_and_verify_measure_the_adapter(self):
        model, document = lora(), token_ids(1, 300)[0]
        merged = lora().merge_and_unload()
        setting = {"methods": ["none"], "windows": 1, "tail_tokens": 16}
        found = rw.perplexity(model, [document], [64], **setting)[0]["nll"]
        expected = rw.perplexity(merged, [document], [64], **setting)[0]["nll"]
        with model.disable_adapter():
            without = rw.perplexity(model, [document], [64], **setting)[0]["nll"]
        assert found == pytest.approx(expected, abs=1e-4)
        assert abs(without - found) > 1e-3
        records = rw.verify(model, ["yarn:factor=2"], length=48)
        assert {each["status"] for each in records} == {"ok"}

    def test_learned_tokens_are_not_left_out_of_a_measurement(self):
        model, document = adapted(peft.PromptTuningConfig, num_virtual_tokens=5), token_ids(1, 99)
        for measure in (
            lambda: rw.perplexity(model, [document[0]], [64], windows=1, tail_tokens=16),
            lambda: rw.verify(model, ["none"]),
            lambda: rw.compare(model, methods=["none"]),
        ):
            with pytest.raises(rw.RopewalkError, match="learned tokens before each text"):
                measure()

    def test_the_extension_is_the_base_models(self):
        model = lora()
        with rw.extend(model, "dynamic_ntk") as extension:
            assert getattr(model.get_base_model(), EXTENSION) is extension
            with pytest.raises(rw.RopewalkError, match="already"):
                rw.extend(model.get_base_model(), "dynamic_ntk")


def dequantised(model):
    """The same model in plain weights."""
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, torch.nn.Linear) and hasattr(weight, "dequantize"):
            module.weight = torch.nn.Parameter(weight.dequantize(), requires_grad=False)
    return model


@SEAMS
@pytest.mark.parametrize("first", ["quantise", "extend"])
def test_weights_of_eight_bits(first, spec):
    """torchao, before and after extend."""
    torchao = pytest.importorskip("torchao.quantization")
    model, config = small(dtype=torch.float32), torchao.Int8WeightOnlyConfig(version=2)
    plain = small(dtype=torch.float32)
    torchao.quantize_(plain, config)
    with rw.extend(dequantised(plain), spec):
        expected = logits(plain, IDS)
    if first == "quantise":
        torchao.quantize_(model, config)
    with rw.extend(model, spec):
        if first == "extend":
            torchao.quantize_(model, config)
        assert_close(logits(model, IDS), expected, rtol=0, atol=1e-4)
        assert_close(in_calls(model, IDS, (44,)), expected, rtol=0, atol=1e-4)


@pytest.mark.filterwarnings("ignore:MatMul8bitLt")
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("spec", ["native", *SPECS[:3]])
def test_weights_that_bitsandbytes_loads(bits, spec, tmp_path):
    """Four and eight bits, where it runs on the CPU."""
    pytest.importorskip("bitsandbytes")
    small(dtype=torch.float32, intermediate_size=128).save_pretrained(tmp_path)
    loaded = {"load_in_4bit": True, "bnb_4bit_compute_dtype": torch.float32}
    config = BitsAndBytesConfig(**(loaded if bits == 4 else {"load_in_8bit": True}))
    model = AutoModelForCausalLM.from_pretrained(
        tmp_path, quantization_config=config, device_map="cpu"
    ).eval()
    stock = logits(model, IDS)
    with rw.extend(model, spec):
        found = logits(model, IDS)
        assert_close(in_calls(model, IDS, (30, 1, 13)), found, rtol=0, atol=1e-5)
    assert ((found - stock).abs().max() > 1e-3) == (spec != "native")
    assert torch.equal(logits(model, IDS), stock)


@SEAMS
@pytest.mark.parametrize("first", ["offload", "extend"])
@pytest.mark.parametrize("family", ["llama", "qwen3", "hunyuan_v1_dense"])
def test_offloaded_weights(family, first, spec):
    """Norms before the rotation, and norms after it, by whose weights keys are divided."""
    accelerate = pytest.importorskip("accelerate")
    model = small(family)
    with rw.extend(model, spec):
        expected = logits(model, IDS)
    if first == "offload":
        accelerate.cpu_offload(model)
    with rw.extend(model, spec):
        if first == "extend":
            accelerate.cpu_offload(model)
        assert torch.equal(logits(model, IDS), expected)
        if "at_birth" not in spec:
            assert_close(in_calls(model, IDS, (30, 1, 13)), expected, rtol=0, atol=1e-9)


@SEAMS
@pytest.mark.parametrize("family", ["llama", "deepseek_v3", "hunyuan_v1_dense"])
def test_autocast_rounds_to_half_precision_and_no_more(family, spec):
    """Log-sum-exps stay wide; queries and weights of unlike dtypes meet."""
    model = small(family, dtype=torch.float32)
    with rw.extend(model, spec):
        exact = logits(model, IDS)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = logits(model, IDS).float()
            assert_close(found, exact, rtol=0, atol=0.05 * float(exact.abs().max()))
            in_calls(model, IDS, (40, 1, 3))
            loss = model.train()(IDS, labels=IDS, use_cache=False).loss
        loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
