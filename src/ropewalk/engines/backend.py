"""Engines that run transformers' own classes where they have no file of their own.

vLLM 0.33.0 and SGLang 0.5.23 fall back to the library's class, whose attention they replace; a
class that does not take another attention cannot be loaded. The rotary module is the library's
then, with its rules, and no table is built.

Source: vLLM 0.33.0 models/registry.py (resolve_model_cls); SGLang 0.5.23 model_loader/utils.py;
    transformers 5.23.0, PreTrainedModel.is_backend_compatible of each class.
"""

from ropewalk.configs.families import WITHOUT_CLASS
from ropewalk.engines.reading import EngineRaises, Reading

INCOMPATIBLE = frozenset(
    {"BailingHybridForCausalLM", "BambaForCausalLM", "BartForCausalLM", "BigBirdForCausalLM"}
    | {"BigBirdPegasusForCausalLM", "BioGptForCausalLM", "BlenderbotForCausalLM"}
    | {"BlenderbotSmallForCausalLM", "BlipForConditionalGeneration", "BloomForCausalLM"}
    | {"BltForCausalLM", "CodeGenForCausalLM", "CpmAntForCausalLM"}
    | {"DeepseekVLForConditionalGeneration", "DeepseekVLHybridForConditionalGeneration"}
    | {"EvollaForProteinText2Text", "FalconForCausalLM", "FalconH1ForCausalLM"}
    | {"FalconMambaForCausalLM", "Florence2ForConditionalGeneration", "GPTJForCausalLM"}
    | {"GPTNeoForCausalLM", "GPTNeoXJapaneseForCausalLM", "GitForCausalLM"}
    | {"Inkling2ForCausalLM", "Inkling2ForConditionalGeneration", "InklingForCausalLM"}
    | {"InklingForConditionalGeneration", "JambaForCausalLM", "JanusForConditionalGeneration"}
    | {"KimiLinearForCausalLM", "MBartForCausalLM", "Mamba2ForCausalLM", "MambaForCausalLM"}
    | {"MarianForCausalLM", "MegatronBertForCausalLM", "MiniCPMOcrForConditionalGeneration"}
    | {"MiniCPMV4_6ForConditionalGeneration", "MiniCPMV4_7ForConditionalGeneration"}
    | {"MptForCausalLM", "MusicgenForCausalLM", "MusicgenMelodyForCausalLM", "MvpForCausalLM"}
    | {"NemotronHForCausalLM", "NemotronH_Omni_Reasoning_V3", "OlmoHybridForCausalLM"}
    | {"OpenAIGPTLMHeadModel", "PLBartForCausalLM", "PPFormulaNetForConditionalGeneration"}
    | {"PegasusForCausalLM", "Pix2StructForConditionalGeneration", "ProphetNetForCausalLM"}
    | {"Qwen3NextForCausalLM", "Qwen3_5ForCausalLM", "Qwen3_5ForConditionalGeneration"}
    | {"Qwen3_5MoeForCausalLM", "Qwen3_5MoeForConditionalGeneration", "Qwen4ExpForCausalLM"}
    | {"Qwen4ExpForConditionalGeneration", "ReformerModelWithLMHead", "RemBertForCausalLM"}
    | {"RoFormerForCausalLM", "RwkvForCausalLM", "StableLmForCausalLM", "TrOCRForCausalLM"}
    | {"UdopForConditionalGeneration", "VisionEncoderDecoderModel", "WhisperForCausalLM"}
    | {"XGLMForCausalLM", "XLMWithLMHeadModel", "XLNetLMHeadModel", "Zamba2ForCausalLM"}
    | {"ZambaForCausalLM", "xLSTMForCausalLM"}
)
"""Classes of transformers whose attention cannot be replaced."""


def falls_back(reading: Reading, own: frozenset[str], release: str) -> bool:
    """Whether an engine with those files of its own runs the library's class.

    release  of the engine, for messages

    EngineRaises where neither loads. A config without ``architectures``, or one that no library
    was asked about, is taken for one with a file.
    """
    name = reading.architecture
    if not name or name in own:
        return False
    if reading.model_type in WITHOUT_CLASS:
        raise EngineRaises(
            f"cannot load: {release} has no file for {name}, and transformers no class"
        )
    if name in INCOMPATIBLE:
        raise EngineRaises(
            f"cannot load: {release} has no file for {name}, and the attention of transformers' "
            "class cannot be replaced"
        )
    return bool(reading.shape.completed)
