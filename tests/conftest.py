"""Settings of all tests."""

import sys
from pathlib import Path

import torch

for recipe in ("families", "kill"):  # sharpened models; killed runs
    sys.path.insert(0, str(Path(__file__).parents[1] / "recipes" / recipe))

torch.set_num_threads(1)  # tiny models: a second thread costs more than it computes
