"""Every dialect of config.json and of GGUF headers, read once into a ModelShape."""

from ropewalk.configs import geometry as geometry
