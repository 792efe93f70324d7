"""Memory that the cells of a run take, by the formula of ``ropewalk plan``."""

from torch import nn

from ropewalk.cluster.placing import Demand
from ropewalk.cluster.ray_executor import RayExecutor
from ropewalk.configs.shape import ModelShape
from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.executor import Executor
from ropewalk.evaluation.jobs import Job
from ropewalk.opening.shapes import shape_of
from ropewalk.planning.kv_cache import kv_cache


def demand_of(model: nn.Module) -> Demand:
    """Weights, and the key cache of a cell's longest sequences: what a chunked pass holds.

    A full pass keeps no cache, and its activations are of that order.
    """
    weights = sum(each.numel() * each.element_size() for each in model.parameters())
    width = next(model.parameters()).element_size()
    shape = _shape(model)
    if shape is None:
        return Demand(weights=weights, of_job=lambda job: 0)
    return Demand(weights=weights, of_job=lambda job: _cache(shape, job, width))


def placed(executor: Executor | None, demand: Demand) -> Executor | None:
    """An executor that knows what its jobs take, where it has several machines to place them on."""
    if not isinstance(executor, RayExecutor):
        return executor
    return executor.demanding(demand)


def _shape(model: nn.Module) -> ModelShape | None:
    """None for a trained decoder whose layers no keys of the library say."""
    try:
        return shape_of(model)
    except RopewalkError:
        return None


def _cache(shape: ModelShape, job: Job, width: int) -> int:
    """Bytes; 0 where the cache of a family is not known."""
    try:
        cache = kv_cache(shape, job.lengths[-1], batch=job.batch, dtype="int8")
    except RopewalkError:
        return 0
    return int(cache["bytes"]) * width
