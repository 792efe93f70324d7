"""Executors by name, as the command line has them."""

from ropewalk.cluster.ray_executor import RayExecutor, ray_library
from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.executor import Executor, SerialExecutor


def executor_named(text: str, workers: int | None = None, ranks: int = 1) -> Executor:
    """Of ``serial``, ``ray`` or ``ray:ADDRESS``.

    workers  at once; None for as many as the cluster has GPUs for, or CPUs
    ranks    processes of each worker, which read each sequence together

    Raises RopewalkError for another name, for several workers or ranks of ``serial``, and where
    Ray is not installed.
    """
    name, _, address = text.partition(":")
    if name == "serial" and not address:
        if workers not in (None, 1):
            raise RopewalkError(
                f"{workers} workers: the serial executor has one; add --executor ray"
            )
        if ranks != 1:
            raise RopewalkError(
                f"{ranks} ranks: the serial executor is one process; add --executor ray, or start "
                "the command by torchrun"
            )
        return SerialExecutor()
    if name != "ray" or (":" in text and not address):
        raise RopewalkError(f"executor {text}: expected serial, ray, or ray:ADDRESS")
    if workers is not None and workers < 1:
        raise RopewalkError(f"{workers} workers: expected at least 1")
    if ranks < 1:
        raise RopewalkError(f"{ranks} ranks: expected at least 1")
    ray_library()
    return RayExecutor(address=address or None, workers=workers, ranks=ranks)
