"""Optional packages: what is missing is named with the extra that brings it."""

from importlib import import_module

from ropewalk.core.errors import RopewalkError


def require_extra(extra: str, *packages: str, purpose: str) -> None:
    """Raise RopewalkError unless the packages of an optional extra can be imported.

    extra    as in ``pip install "ropewalk[extra]"``
    purpose  what they are needed for, as the subject of the sentence: "a .gguf file"
    """
    for package in packages:
        try:
            import_module(package)
        except ImportError as error:
            raise RopewalkError(
                f"{purpose} needs the packages {' and '.join(packages)}; install them: "
                f'pip install "ropewalk[{extra}]"'
            ) from error
