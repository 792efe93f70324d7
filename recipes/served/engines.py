"""The engines of this recipe: where each lies, and what its command needs on a small CPU.

    ENGINES_FOLDER/vllm        the environment of install_vllm.sh and install_sglang.sh
    ENGINES_FOLDER/llama.cpp   the folder of install_llama_cpp.sh

What ``ropewalk export`` prints is taken as it is; what stands here is behind it and says nothing
about positions: float32, no compilation, little memory, a port.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class Engine:
    """One engine.

    name         as ``ropewalk export --engine`` knows it
    program      the first words of the command, in the folder of the engine
    here         words behind those of the export; PORT stands for the port
    variables    of the environment; ENGINE stands for the engine's folder
    """

    name: str
    folder: str
    program: tuple[str, ...]
    model: str
    here: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)

    def words(self, engines: Path, model: Path, flags: Sequence[str], port: int) -> list[str]:
        """The command: program, model, the flags of an export, what this machine needs."""
        first, *others = self.program
        program = [str((engines / self.folder / first).absolute()), *others]
        named = [self.model, str(model)] if self.model else [str(model)]
        return [*program, *named, *flags, *(w.replace("PORT", str(port)) for w in self.here)]

    def environment(self, engines: Path) -> dict[str, str]:
        place = str((engines / self.folder).absolute())
        return {key: value.replace("ENGINE", place) for key, value in self.variables.items()}

    def installed(self, engines: Path) -> bool:
        return (engines / self.folder / self.program[0]).exists()


_QUIET = {
    **{"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"},
    **{"HF_HUB_OFFLINE": "1", "PYTHONPATH": ""},
}
ENGINES: Mapping[str, Engine] = MappingProxyType(
    {
        "vllm": Engine(
            name="vllm",
            folder="vllm",
            program=("bin/vllm", "serve"),
            model="",
            here=("--dtype", "float32", "--enforce-eager", "--port", "PORT"),
            variables={
                **_QUIET,
                "VLLM_CPU_KVCACHE_SPACE": "1",
                "VLLM_NO_USAGE_STATS": "1",
                "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            },
        ),
        "sglang": Engine(
            name="sglang",
            folder="vllm",
            program=("bin/python", "-m", "sglang.launch_server"),
            model="--model-path",
            here=(
                *("--device", "cpu", "--dtype", "float32", "--attention-backend", "torch_native"),
                *("--mem-fraction-static", "0.1", "--max-total-tokens", "8192"),
                *("--disable-radix-cache", "--skip-server-warmup", "--port", "PORT"),
            ),
            variables={**_QUIET, "PYTHONPATH": "ENGINE/stubs"},
        ),
        "llama.cpp": Engine(
            name="llama.cpp",
            folder="llama.cpp",
            program=("build/bin/llama-server",),
            model="-m",
            here=(
                *("-np", "1", "-ctk", "f32", "-ctv", "f32", "-t", "1", "-fa", "off"),
                *("--no-warmup", "--port", "PORT"),
            ),
            variables={"OMP_WAIT_POLICY": "PASSIVE"},
        ),
    }
)
