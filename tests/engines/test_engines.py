"""Engine rules against golden records, made by executing and reading the four releases.

goldens/engines.json: transformers 5.23.0, vLLM 0.33.0 and SGLang 0.5.23 executed on CPU, llama.cpp
0c1e57098 through its kernel and its converter; each record's ``how`` says which of its values
were executed and which were read in the source.
"""

import json
import math

import pytest
import torch
from torch.testing import assert_close

import ropewalk as rw
from places import GOLDENS
from readings import answer_of, reading_of
from ropewalk.engines.answer import TwoTables
from ropewalk.engines.table import ENGINES
from ropewalk.engines.vllm.dynamic import dynamic, dynamic_before_41277

RECORDED = json.loads((GOLDENS / "engines.json").read_text("utf-8"))
CONFIGS = RECORDED["configs"]


def name_of(record):
    length = record["served_length"]
    return f"{record['engine']}-{record['id']}-{length}{'-flag' * ('extra_flag' in record)}"


RECORDS = [pytest.param(record, id=name_of(record)) for record in RECORDED["records"]]


def answer_to(record):
    config = CONFIGS[record["id"]]
    return answer_of(record["engine"], config, record["served_length"], record["layer_type"])


@pytest.mark.parametrize("record", RECORDS)
def test_every_record_agrees(record):
    if "extra_flag" in record:
        pytest.skip(f"{record['extra_flag']}: what a flag does is not in the config")
    answer, expected = answer_to(record), record["expected"]
    assert answer.version == record["version"]
    assert answer.error == record.get("error")
    if "inv_freq" in expected:
        wanted = torch.tensor(expected["inv_freq"], dtype=torch.float64)
        theta = torch.tensor(answer.inv_freq, dtype=torch.float64)
        # The engines compute in float32; llama.cpp multiplies 64 times in a row.
        assert_close(theta, wanted, rtol=2e-6, atol=0)
    for name in ("attention_factor", "softmax_scale_multiplier"):
        if name in expected:
            assert getattr(answer, name) == pytest.approx(expected[name], abs=1e-6)
    if "max_length" in expected:
        assert answer.max_length == expected["max_length"]
    rows = expected.get("table_rows")
    if isinstance(rows, dict):
        rows = TwoTables(short=rows["short"], long=rows["long"])
    assert answer.table_rows == rows


DEVIATING = [
    pytest.param(record, id=name_of(record))
    for record in RECORDED["records"]
    if record.get("verdict") and "extra_flag" not in record
]


@pytest.mark.parametrize("record", DEVIATING)
def test_an_audit_speaks_of_every_deviating_engine(record):
    """A record with a verdict does not do what its config means."""
    document = rw.audit(CONFIGS[record["id"]], record["served_length"], record["layer_type"])
    harmful = [f for f in document["findings"] if f["severity"] != "info"]
    assert any(record["engine"] in finding["engines"] for finding in harmful)


NOMIC = {
    "architectures": ["NomicBertModel"],
    "model_type": "nomic_bert",
    "hidden_size": 768,
    "num_attention_heads": 12,
    "n_positions": 8192,
    "rotary_emb_base": 1000,
    "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1000.0, "factor": 2.0},
}
NOMIC_V1 = {**NOMIC, "max_position_embeddings": 8192}
NOMIC_V1_5 = {**NOMIC, "max_position_embeddings": 2048, "max_trained_positions": 2048}
CODERANK = {**NOMIC, "max_position_embeddings": 2048, "max_trained_positions": 2048}
NAN = float("nan")


def base_of(theta, d=64):
    """The base b of frequencies b^(-2i/d)."""
    return theta[1] ** (-d / 2)


@pytest.mark.parametrize(
    ("config", "served", "base"),
    [
        # 1000 * (2 N / 2048 - 1)^(64/62)
        (NOMIC_V1_5, 2048, 1000.0),
        (NOMIC_V1_5, 4096, 1000 * 3 ** (64 / 62)),
        (NOMIC_V1_5, 8192, 1000 * 7 ** (64 / 62)),
        (CODERANK, 8192, 7453.483031811892),
        (NOMIC_V1, 8192, 1000.0),
    ],
)
def test_dynamic_ntk_of_nomic_after_pull_request_41277(config, served, base):
    answer = answer_of("vllm", config, served, None)
    assert base_of(answer.inv_freq) == pytest.approx(base, rel=1e-9)
    assert answer.table_rows == served


@pytest.mark.parametrize("served", [2048, 4096])
def test_nomic_v1_below_its_trained_length_is_no_rotation(served):
    """v1 states 8,192 trained positions: the inner term is -0.5 at 2,048 and 0 at 4,096."""
    answer = answer_of("vllm", NOMIC_V1, served, None)
    assert answer.error.startswith("not a rotation")
    assert answer.inv_freq is None
    findings = rw.audit(NOMIC_V1, served)["findings"]
    assert findings[0]["id"] == "not-a-rotation"


@pytest.mark.parametrize("served", [2048, 4096, 8192])
def test_dynamic_ntk_before_pull_request_41277_is_one_constant(served):
    reading = reading_of(NOMIC_V1_5, served, None)
    turned = dynamic_before_41277(reading, max_position=served)
    theta = turned.frequencies.inv_freq(served).tolist()
    assert base_of(theta) == pytest.approx(3108.2236667168813, rel=1e-9)
    assert turned.table_rows == 2 * served


def test_dynamic_ntk_between_no_op_and_trained_length():
    """P = 3/4 T, a = 2: the inner term is 1/2, the base halves and more."""
    reading = reading_of({**NOMIC, "max_position_embeddings": 4096}, 3072, None)
    theta = dynamic(reading, max_position=3072).frequencies.inv_freq(3072).tolist()
    assert base_of(theta) == pytest.approx(1000 * 0.5 ** (64 / 62), rel=1e-9)
    assert "dynamic-below-trained" in ids(
        rw.audit({**NOMIC, "max_position_embeddings": 4096}, 3072)
    )


def test_rope_parameters_of_nomic_may_be_null():
    answer = answer_of("vllm", {**NOMIC_V1_5, "rope_parameters": None}, None, None)
    assert answer.error is None
    assert base_of(answer.inv_freq) == pytest.approx(1000, rel=1e-9)
    assert answer.table_rows == answer.max_length == 2048


def test_without_max_trained_positions_nothing_is_scaled():
    config = CONFIGS["dynamic-internlm3"]
    answer = answer_of("vllm", config, None, None)
    assert base_of(answer.inv_freq, 128) == pytest.approx(5e7, rel=1e-9)
    assert "dynamic-no-op" in ids(rw.audit(config))
    stated = {**config, "rope_scaling": {**config["rope_scaling"], "max_trained_positions": 8192}}
    scaled = answer_of("vllm", stated, None, None)
    # a P / T - (a - 1) = 6 * 4 - 5
    assert base_of(scaled.inv_freq, 128) == pytest.approx(5e7 * 19 ** (128 / 126), rel=1e-9)
    assert "dynamic-no-op" not in ids(rw.audit(stated))


def ids(document):
    return [finding["id"] for finding in document["findings"]]


M_40 = 0.1 * math.log(40) + 1  # YaRN's magnitude at factor 40


def deepseek(**rope):
    config = CONFIGS["mla-deepseek-v3"]
    return {**config, "rope_scaling": {**config["rope_scaling"], **rope}}


@pytest.mark.parametrize(
    ("config", "multipliers"),
    [
        (deepseek(), [M_40**2] * 4),
        # vLLM takes attention_factor 1.0 for "no mscale squared"
        (deepseek(attention_factor=1.0), [M_40**2, 1, M_40**2, M_40**2]),
        (deepseek(apply_yarn_scaling=False), [M_40**2, M_40**2, 1, M_40**2]),
        # without mscale_all_dim, or with 0 for it, llama.cpp squares m(s, 1) into the scale
        (deepseek(mscale_all_dim=0), [1, 1, 1, M_40**2]),
        (deepseek(mscale_all_dim=None), [1, 1, 1, M_40**2]),
        ({**CONFIGS["mla-deepseek-v3"], "rope_scaling": None}, [1, 1, 1, 1]),
    ],
)
def test_softmax_scale_of_latent_attention(config, multipliers):
    answers = [answer_of(name, config, None, None) for name in ENGINES]
    found = [answer.softmax_scale_multiplier for answer in answers]
    assert found == pytest.approx(multipliers, rel=1e-12)


def test_a_compressed_config_has_neither_mscale_nor_qk_width():
    """DeepSeek-V4: head_dim^-1/2 and attention factor 1, whatever mscale says."""
    config = {**deepseek(), "compress_ratios": [1, 4], "head_dim": 512}
    answer = answer_of("vllm", config, None, None)
    assert (answer.attention_factor, answer.softmax_scale_multiplier) == (1, 1)
    assert rw.inspect(config)["softmax_scale"] == pytest.approx(512**-0.5)


def test_mscale_without_its_partner_in_latent_attention():
    """A of the four: transformers ignores it, vLLM and SGLang take m(s, 0.707) / m(s, 0)."""
    config = CONFIGS["mla-deepseek-v2-lite"]
    rope = {k: v for k, v in config["rope_scaling"].items() if k != "mscale_all_dim"}
    answers = [answer_of(name, {**config, "rope_scaling": rope}, None, None) for name in ENGINES]
    half = 0.0707 * math.log(40) + 1
    assert [a.attention_factor for a in answers] == pytest.approx([M_40, half, half, M_40])
    assert answers[3].softmax_scale_multiplier == pytest.approx(M_40**2)


def test_the_ramp_of_qwen_vl_in_vllm_takes_four_times_the_length():
    config = {
        **CONFIGS["yarn-qwen25"],
        "model_type": "qwen2_5_vl",
        "rope_scaling": {
            **CONFIGS["yarn-qwen25"]["rope_scaling"],
            "mrope_section": [16, 24, 24],
        },
    }
    theta = answer_of("vllm", config, None, None).inv_freq
    plain = [1e6 ** (-2 * i / 128) for i in range(64)]
    # 30..47 in place of 23..40
    assert theta[30] == pytest.approx(plain[30], rel=1e-12)
    assert theta[31] < plain[31] * (1 - 1e-3)
    assert theta[47] == pytest.approx(plain[47] / 4, rel=1e-12)
    ours = answer_of("transformers", config, None, None).inv_freq
    worst = max(abs(a - b) / b for a, b in zip(theta, ours, strict=True))
    assert worst == pytest.approx(1.24, abs=0.01)
    assert "mrope-ramp" in ids(rw.audit(config))


def test_a_nested_truncate_is_ignored_by_transformers():
    """gpt-oss's numbers, one dict for each layer type: the cut-offs 8.09..17.4 become 8..18."""
    flat = CONFIGS["yarn-gpt-oss"]
    inner = {**flat["rope_scaling"], "rope_theta": 150000}
    nested = {k: v for k, v in flat.items() if k not in ("rope_scaling", "rope_theta")}
    nested["rope_parameters"] = {"full_attention": inner, "sliding_attention": dict(inner)}
    rounded, kept = (answer_of(n, nested, None, None).inv_freq for n in ("transformers", "vllm"))
    assert kept[16] == pytest.approx(0.000456483919223241, rel=1e-9)
    assert rounded[16] == pytest.approx(0.000580947497, rel=1e-6)
    worst = max(abs(a - b) / b for a, b in zip(rounded, kept, strict=True))
    assert worst == pytest.approx(0.76, abs=0.01)


def test_findings_come_in_order_of_harm():
    rank = {"error": 0, "warning": 1, "info": 2}
    found = [rank[f["severity"]] for f in rw.audit(CONFIGS["dynamic-internlm3"])["findings"]]
    assert found == sorted(found)
    assert set(found) == {0, 1, 2}
