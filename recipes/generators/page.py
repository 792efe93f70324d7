"""Samples a minute, for docs/tasks.md."""

from recipes.pages import ROOT, Blocks, result


def blocks() -> Blocks:
    document = result("generators")
    rates = {each["name"]: each["samples_a_minute"] for each in document["generators"]}
    slowest, fastest = min(rates, key=lambda n: rates[n]), max(rates, key=lambda n: rates[n])
    text = (
        f"Samples of {document['length']:,} tokens that {document['cores']} cores make in a "
        f"minute: from {rates[slowest]:,.0f} (`{slowest}`) to {rates[fastest]:,.0f} "
        f"(`{fastest}`), by CPU seconds ({document['environment']['device']}; "
        "[generators.json](results/generators.json)).\n"
    )
    return {ROOT / "docs" / "tasks.md": {"generators": text}}
