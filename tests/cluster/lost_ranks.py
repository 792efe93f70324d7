"""A comparison by two ranks as one worker, of which parts are lost: a program of its own.

    python lost_ranks.py FOLDER [node] [rank]    writes begun, then records.json

See lost_node.py for why. With each cell that is measured, the next thing named is lost, while the
next cell is at work.
"""

import json
import os
import signal
import sys
from pathlib import Path

REQUEST = {
    "methods": ["linear:factor=2", "dynamic_ntk", "rerope:window=64"],
    "lengths": [128, 384],
    "tail_tokens": 64,
    "windows": 1,
    "modes": ["full", "decode"],
    "dtype": "float64",
}
FOLLOWING = b"ray::_Rank.follow"


def following():
    """Processes of ranks that follow, by the title that the library gives them."""
    return [
        int(each.parent.name)
        for each in Path("/proc").glob("[0-9]*/cmdline")
        if each.exists() and each.read_bytes().startswith(FOLLOWING)
    ]


def main(folder: Path, to_lose: list[str]) -> None:
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray
    from ray.cluster_utils import Cluster
    from ray.util import placement_group_table

    from ropewalk.api import compare
    from ropewalk.cluster.ray_executor import RayExecutor
    from ropewalk.data import demo_model
    from ropewalk.evaluation.progress import Silent

    nodes, lost = Cluster(), []
    settings = {"node_ip_address": "127.0.0.1", "include_dashboard": False}
    nodes.add_node(num_cpus=0, **settings)
    more = [nodes.add_node(num_cpus=2, **settings) for _ in range(1 + to_lose.count("node"))]
    rest = {each.node_id: each for each in more}
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    (folder / "begun").touch()

    def lose_a_node():
        placed = [each for each in placement_group_table().values() if each["state"] == "CREATED"]
        (node,) = set(placed[0]["bundles_to_node_id"].values())
        nodes.remove_node(rest[node], allow_graceful=False)

    def lose_a_rank():
        (process,) = following()
        os.kill(process, signal.SIGKILL)

    class Losing(Silent):
        def finished(self, result):
            if to_lose and result.record()["status"] == "ok":
                lost.append(to_lose.pop(0))
                {"node": lose_a_node, "rank": lose_a_rank}[lost[-1]]()

    found = compare(
        str(demo_model()),
        out=folder / "run",
        executor=RayExecutor(workers=1, ranks=2),
        progress=Losing(),
        **REQUEST,
    )
    ended = {"lost": lost, "records": found.records, "ranks": found.document["ranks"]}
    (folder / "records.json").write_text(json.dumps(ended), "utf-8")
    ray.shutdown()
    nodes.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
