"""Losses of a sequence that ranks read together: each takes those of its own tokens.

Targets are the tokens after those fed, of the whole sequence, so a rank's last one is the first of
the next rank. Every loss is taken on one rank; the sum over ranks puts them together.
"""

import torch
from torch import Tensor, nn

from ropewalk.core.loss import token_losses
from ropewalk.core.passes import Pass
from ropewalk.integrations.cache_names import cache_argument, cache_in
from ropewalk.integrations.modes import evaluating
from ropewalk.integrations.output_layer import decoder_of, family_head
from ropewalk.integrations.placement import placed_ids
from ropewalk.integrations.ranked.shares import share_of
from ropewalk.ranks.ranks import Ranks


@torch.no_grad()
def shared_losses(model: nn.Module, ranks: Ranks, ids: Tensor, first: int, split: Pass) -> Tensor:
    """As ``LanguageModel.token_losses``, on every rank, of a model whose passes are shared out."""
    rows = placed_ids(model, ids.reshape(-1, ids.shape[-1]))
    count = rows.shape[1]
    losses = torch.zeros(len(rows), count - first, dtype=torch.float64, device=rows.device)
    calls = list(split.calls(count))
    decoder, cache = decoder_of(model), None
    with evaluating(model):
        for start, stop in calls:
            given = cache_argument(decoder, cache)
            out = decoder(rows[:, start:stop], use_cache=len(calls) > 1, **given)
            cache = cache_in(out)
            own = share_of(ranks, stop - start).answered
            # Of the tokens fed here, those whose next one is scored.
            low = max(start + own.start, first - 1)
            high = min(start + own.stop, count - 1)
            if low >= high:
                continue
            before = start + own.start
            hidden = out.last_hidden_state[:, low - before : high - before]
            targets = rows[:, low + 1 : high + 1]
            with family_head(model) as head:
                found = token_losses(hidden.flatten(0, 1), targets.flatten(), head)
            losses[:, low + 1 - first : high + 1 - first] = found.view(targets.shape)
    return ranks.summed(losses).cpu().view(*ids.shape[:-1], -1)
