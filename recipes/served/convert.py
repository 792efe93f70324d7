"""llama.cpp's own converter, which does not know the demo model's tokenizer: it is GPT-2's.

python recipes/served/convert.py LLAMA_CPP_FOLDER MODEL --outtype f32 --outfile FILE
"""

import runpy
import sys
from pathlib import Path
from typing import Any


def main(source: Path, words: list[str]) -> None:
    """Run convert_hf_to_gguf.py of ``source`` with these words."""
    sys.path[:0] = [str(source), str(source / "gguf-py")]
    from conversion.base import TextModel

    own = TextModel.get_vocab_base_pre

    def named(self: Any, tokenizer: Any) -> str:
        try:
            found: str = own(self, tokenizer)
        except NotImplementedError:
            return "gpt-2"
        return found

    TextModel.get_vocab_base_pre = named
    sys.argv = ["convert_hf_to_gguf.py", *words]
    runpy.run_path(str(source / "convert_hf_to_gguf.py"), run_name="__main__")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
