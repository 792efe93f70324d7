"""FINDINGS: the one table of kinds, and the look through all of them."""

from collections.abc import Mapping
from types import MappingProxyType

from ropewalk.engines.findings import (
    dynamic,
    errors,
    keys,
    latent,
    lengths,
    longrope,
    magnitudes,
    ramps,
)
from ropewalk.engines.findings.finding import Evidence, Finding, Kind

FINDINGS: Mapping[str, Kind[Evidence]] = MappingProxyType(
    {
        kind.id: kind
        for part in (errors, dynamic, magnitudes, latent, ramps, longrope, keys, lengths)
        for kind in part.KINDS
    }
)


def findings(evidence: Evidence) -> tuple[Finding, ...]:
    """All that the config shows, in order of harm."""
    found = [finding for kind in FINDINGS.values() for finding in kind.findings(evidence)]
    return tuple(sorted(found, key=lambda finding: finding.severity))
