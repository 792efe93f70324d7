"""What a tuned checkpoint says of itself: its table, and the card that lies beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]

_CONFIG_SAYS = """\
`config.json` states the method, so plain transformers computes it:

```python
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained("{folder}")
```
"""
_SIDECAR_SAYS = """\
**No engine computes this method from its config.** `config.json` is that of the base model, with
which transformers, vLLM, SGLang and llama.cpp compute something else, for which these weights
were not tuned. `ropewalk.json` states the method:

```python
import ropewalk as rw
model, extension = rw.load("{folder}")
```

`ropewalk compare`, `generate`, `verify` and `inspect` follow it too. Why no config says it:
{reason}
"""


def won_back(document: Document) -> dict[str, Any]:
    """How much of what the method lost at N tuning gave back.

        share = (untuned at N - tuned at N) / (untuned at N - original at L0)

    In nats; None where a figure is missing or nothing was lost.
    """
    length, trained = document["length"], document["trained_length"]
    original = _nll(document, document["original"], trained, "before")
    untuned = _nll(document, document["method"], length, "before")
    tuned = _nll(document, document["method"], length, "after")
    told = {"original": original, "untuned": untuned, "tuned": tuned, "share": None}
    if original is not None and untuned is not None and tuned is not None and untuned > original:
        told["share"] = (untuned - tuned) / (untuned - original)
    return told


def tuned_table(document: Document) -> tuple[list[str], list[list[str]]]:
    """Header and rows: loss in nats a token by length, before, during and after."""
    lengths = sorted({cell["length"] for cell in document["cells"]})
    header = ["", *(f"{length:,}" for length in lengths)]
    rows = list(dict.fromkeys((c["when"], c["weights"], c["method"]) for c in document["cells"]))
    return header, [[_row_name(*row), *_row(document, row, lengths)] for row in rows]


def tuned_card(document: Document) -> str:
    """README.md of the checkpoint."""
    says = _CONFIG_SAYS if document["stated_by"] == "config.json" else _SIDECAR_SAYS
    said = says.format(folder=document["checkpoint"], reason=document["reason"])
    header, rows = tuned_table(document)
    table = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in table)
    return f"""\
---
library_name: transformers
tags:
- ropewalk
- long-context
---

# {document["model"]}, tuned to {document["length"]:,} tokens

Method: `{document["method"]}`, over a trained length of {document["trained_length"]:,} tokens.

{said}
## Loss

Nats a token, lower is better ({document["protocol"]}; each length scores the same tokens).

{lines}

{won_back_sentence(document["won_back"])}

## Training

{_stages(document["stages"])}
Trained: {document["trained"]}, of {document["parameters"]:,} parameters.

## Audit

{_engines(document["engines"])}{_findings(document["audit"])}
`ropewalk_logits.safetensors` holds the ids of a text of {document["length"]:,} tokens and logits
of four of its rows, as this checkpoint gave them in float32 when it was saved.
"""


def won_back_sentence(told: Mapping[str, Any]) -> str:
    """What ``won_back`` found; empty where it found nothing. A share of next to nothing is none."""
    share = told["share"]
    if share is None:
        return ""
    if share > 1:
        return "Tuning won back all that the method lost untuned, and more."
    if share < 0:
        return "Tuning won back nothing of what the method lost untuned: it lost more."
    return f"Of what the method lost untuned, tuning won {share:.0%} back."


def _stages(stages: Sequence[Mapping[str, Any]]) -> str:
    return "".join(
        f"{number}. `{stage['method']}` at {stage['length']:,} tokens: {stage['steps']} steps of "
        f"{stage['batch']} windows of {stage['window_tokens']:,} tokens (positions: "
        f"{stage['sampler']}), peak learning rate {stage['learning_rate']:.2g}, "
        f"{stage['tokens']:,} tokens.\n"
        for number, stage in enumerate(stages, start=1)
    )


def _engines(reasons: Mapping[str, str | None]) -> str:
    return "".join(
        f"- {name}: {'computes the method from this config' if reason is None else reason}.\n"
        for name, reason in reasons.items()
    )


def _findings(findings: Sequence[Mapping[str, Any]]) -> str:
    if not findings:
        return ""
    return "".join(
        f"- {each['severity']} ({', '.join(each['engines'])}): {each['message']} {each['remedy']}\n"
        for each in findings
    )


def _row_name(when: str, weights: str, method: str) -> str:
    return f"{weights}, `{method}`" if when == "before" else f"tuned, `{method}`, {when}"


def _row(document: Document, row: tuple[str, str, str], lengths: Sequence[int]) -> list[str]:
    when, _, method = row
    found = (_nll(document, method, length, when) for length in lengths)
    return ["-" if nll is None else f"{nll:.3f}" for nll in found]


def _nll(document: Document, method: str, length: int, when: str) -> float | None:
    for cell in document["cells"]:
        if (cell["method"], cell["length"], cell["when"]) == (method, length, when):
            nll: float | None = cell["nll"]
            return nll
    return None
