"""A comparison on three nodes of which one is lost: a program of its own.

    python lost_node.py FOLDER    writes begun, then records.json

The library reads when it is imported whether nodes may keep to 127.0.0.1; by default their control
service binds to the machine's own address, and where that does not answer it waits without end.
"""

import json
import os
import sys
from pathlib import Path

REQUEST = {
    "methods": ["none", "linear:factor=2", "ntk_aware:factor=2", "rerope:window=64"],
    "lengths": [128, 384],
    "tail_tokens": 64,
    "windows": 1,
}


def main(folder: Path) -> None:
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    from ropewalk.api import compare
    from ropewalk.cluster.ray_executor import RayExecutor
    from ropewalk.data import demo_model
    from ropewalk.evaluation.progress import Silent

    nodes, lost = Cluster(), []
    settings = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "include_dashboard": False}
    nodes.add_node(**settings)
    rest = [nodes.add_node(**settings) for _ in range(2)]
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    (folder / "begun").touch()

    class Losing(Silent):
        def finished(self, result):
            if not lost:
                lost.append(result)
                nodes.remove_node(rest[0], allow_graceful=False)

    found = compare(
        str(demo_model()),
        out=folder / "run",
        executor=RayExecutor(workers=3),
        progress=Losing(),
        **REQUEST,
    )
    ended = {"lost": len(lost), "records": found.records}
    (folder / "records.json").write_text(json.dumps(ended), "utf-8")
    ray.shutdown()
    nodes.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
