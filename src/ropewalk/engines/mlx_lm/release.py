"""MLX-LM 0.32.2: what the file of a model makes of its config.

Source: MLX-LM 0.32.2, mlx_lm/utils.py (load_config, _get_classes), mlx_lm/models.
"""

from dataclasses import replace

from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.lengths import WholeSequence
from ropewalk.engines.answer import EngineAnswer, Rotation
from ropewalk.engines.mlx_lm.files import FILES, NOT_READ, File, file_name, text_keys
from ropewalk.engines.mlx_lm.rules import RuleInputs
from ropewalk.engines.reading import EngineRaises, Reading
from ropewalk.frequencies.yarn_magnitude import yarn_mscale

NAME, VERSION = "mlx-lm", "0.32.2"


def mlx_lm(reading: Reading) -> EngineAnswer:
    """What MLX-LM computes in one call over ``served_length`` tokens (default M)."""
    answer = EngineAnswer(
        engine=NAME,
        version=VERSION,
        table_dtype="float32, in the kernel",
        choice="no table",
        pairing=reading.section.pairing,
    )
    name = file_name(reading.shape.config)
    if name in NOT_READ:
        return replace(answer, notes=(f"models/{name}.py has no rule here",))
    try:
        file = _file(name).of_layers(reading.section.layer_type)
        rotation = _rotation(file, reading)
    except EngineRaises as raised:
        return replace(answer, error=str(raised))
    except RopewalkError as refused:
        return replace(answer, notes=(f"no rotation that can be told: {refused}",))
    policy = WholeSequence(trained_length=rotation.frequencies.geometry.trained_length)
    return replace(
        answer.rotating(rotation, policy, reading.served_length or reading.longest),
        softmax_scale_multiplier=_softmax_multiplier(reading, file),
        max_length=reading.longest,
    )


def _file(name: str) -> File:
    if name not in FILES:
        raise EngineRaises(f"ValueError: Model type {name} not supported.")
    return FILES[name]


def _rotation(file: File, reading: Reading) -> Rotation:
    keys = text_keys(reading.shape.config)
    if missing := [key for key in file.needs if key not in keys]:
        raise EngineRaises(f"TypeError: missing 1 required argument: '{missing[0]}'")
    geometry = RopeGeometry(
        head_dim=file.channels(keys, reading.section.head_dim),
        rope_theta=file.base(keys),
        trained_length=reading.longest,
        pairing=reading.section.pairing,
    )
    given = RuleInputs(keys=keys, rope=file.rope(keys), geometry=geometry, longest=reading.longest)
    return file.make(given)


def _softmax_multiplier(reading: Reading, file: File) -> float:
    """Latent attention: m(s, mscale_all_dim)^2, whatever the type (deepseek_v3.py)."""
    rope = file.rope(text_keys(reading.shape.config))
    if not reading.section.latent_attention or not rope:
        return 1.0
    factor, all_dim = reading.number("factor"), reading.number("mscale_all_dim")
    return yarn_mscale(factor or 1.0, all_dim) ** 2 if all_dim else 1.0
