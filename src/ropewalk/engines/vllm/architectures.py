"""Architectures that vLLM 0.33.0 knows, by the names in ``architectures``.

Source: vLLM 0.33.0, model_executor/models/registry.py (_TEXT_GENERATION_MODELS and its siblings,
    _TRANSFORMERS_SUPPORTED_MODELS, _PREVIOUSLY_SUPPORTED_MODELS but for those that its
    Transformers backend runs today). NewModel is GteNewModel, by --hf-overrides.
"""

from collections.abc import Mapping
from types import MappingProxyType

OWN_FILE = frozenset(
    {"AXK1ForCausalLM", "AfmoeForCausalLM", "AliceAIForCausalLM", "Alpamayo2Super"}
    | {"ApertusForCausalLM", "AriaForConditionalGeneration"}
    | {"AudioFlamingo3ForConditionalGeneration", "BagelForConditionalGeneration"}
    | {"BailingMoeForCausalLM", "BailingMoeV2ForCausalLM", "BailingMoeV2_5ForCausalLM"}
    | {"BailingMoeV3ForCausalLM", "BailingMoeV3VLForConditionalGeneration", "BeamForCausalLM"}
    | {"BeeForConditionalGeneration", "BertForMaskedLM", "BertForSequenceClassification"}
    | {"BertForTokenClassification", "BertModel", "BertSpladeSparseEmbeddingModel"}
    | {"BgeM3EmbeddingModel", "Blip2ForConditionalGeneration", "BloomForCausalLM", "CLIPModel"}
    | {"ChatGLMForConditionalGeneration", "ChatGLMModel", "ClefFlashForJointSchema"}
    | {"ClefOmniForJointSchema", "Cohere2ForCausalLM", "Cohere2MoeForCausalLM"}
    | {"Cohere2VisionForConditionalGeneration", "CohereAsrForConditionalGeneration"}
    | {"CohereCompassForConditionalGeneration", "CohereForCausalLM", "ColBERTJinaRobertaModel"}
    | {"ColBERTLfm2Model", "ColBERTModernBertModel", "ColModernVBertForRetrieval"}
    | {"ColPaliForRetrieval", "ColQwen3", "ColQwen3_5", "ColUltraVBertForRetrieval"}
    | {"Cosmos3EdgeForConditionalGeneration", "Cosmos3ForConditionalGeneration"}
    | {"D3ForSequenceClassification", "DbrxForCausalLM", "DeciLMForCausalLM"}
    | {"DeepseekForCausalLM", "DeepseekOCR2ForCausalLM", "DeepseekOCRForCausalLM"}
    | {"DeepseekV2ForCausalLM", "DeepseekV32ForCausalLM", "DeepseekV3BidirectionalModel"}
    | {"DeepseekV3ForCausalLM", "DeepseekV41ForCausalLM", "DeepseekV4ForCausalLM"}
    | {"DeepseekV4ForConditionalGeneration", "DeepseekVLV2ForCausalLM"}
    | {"DiffusionGemmaForBlockDiffusion", "DomynEdgeForCausalLM", "DoryForCausalLM"}
    | {"Dots3NoteForCausalLM", "DotsOCRForCausalLM", "Eagle2_5_VLForConditionalGeneration"}
    | {"EmbeddingGemma2Model", "Ernie4_5ForCausalLM", "Ernie4_5_MoeForCausalLM"}
    | {"Ernie4_5_VLMoeForConditionalGeneration", "Exaone4ForCausalLM"}
    | {"Exaone4_5_ForConditionalGeneration", "ExaoneForCausalLM", "ExaoneMoEForCausalLM"}
    | {"ExaoneMoeForCausalLM", "FalconForCausalLM", "FalconH1ForCausalLM"}
    | {"FalconMambaForCausalLM", "FireRedASR2ForConditionalGeneration", "FlintForCausalLM"}
    | {"FunASRForConditionalGeneration", "FunAudioChatForConditionalGeneration"}
    | {"GLM4VForCausalLM", "GPT2ForSequenceClassification", "GPT2LMHeadModel"}
    | {"GPTJForCausalLM", "Gemma2ForCausalLM", "Gemma2Model", "Gemma3ForCausalLM"}
    | {"Gemma3ForConditionalGeneration", "Gemma3TextModel", "Gemma3nForCausalLM"}
    | {"Gemma3nForConditionalGeneration", "Gemma4ForCausalLM", "Gemma4ForConditionalGeneration"}
    | {"Gemma4UnifiedForConditionalGeneration", "GemmaForCausalLM", "Glm4ForCausalLM"}
    | {"Glm4MoeForCausalLM", "Glm4MoeLiteForCausalLM", "Glm4vForConditionalGeneration"}
    | {"Glm4vMoeForConditionalGeneration", "Glm5NextForCausalLM"}
    | {"Glm5NextForConditionalGeneration", "GlmAsrForConditionalGeneration"}
    | {"GlmMoeDsaForCausalLM", "GlmOcrForConditionalGeneration", "GptOssForCausalLM"}
    | {"Granite4VisionForConditionalGeneration", "GraniteForCausalLM", "GraniteMoeForCausalLM"}
    | {"GraniteMoeHybridForCausalLM", "GraniteMoeSWAForCausalLM", "GraniteMoeSharedForCausalLM"}
    | {"GraniteSWAForCausalLM", "GraniteSpeechForConditionalGeneration"}
    | {"GraniteSpeechPlusForConditionalGeneration", "GteModel"}
    | {"GteNewForSequenceClassification", "GteNewModel", "H2OVLChatModel"}
    | {"HCXVisionV2ForCausalLM", "HF_ColBERT", "HYV3ForCausalLM", "HYV4ForCausalLM"}
    | {"HfMoondream", "HrmTextForCausalLM", "HyperCLOVAXForCausalLM", "IQuestCoderForCausalLM"}
    | {"IQuestLoopCoderForCausalLM", "Idefics3ForConditionalGeneration", "InklingForCausalLM"}
    | {"InklingForConditionalGeneration", "InternLM2ForCausalLM", "InternLM2ForRewardModel"}
    | {"InternLM3ForCausalLM", "InternS1ForConditionalGeneration"}
    | {"InternS1ProForConditionalGeneration", "InternS2MobiusForConditionalGeneration"}
    | {"InternS2PreviewForConditionalGeneration", "InternVLChatModel"}
    | {"InternVLForConditionalGeneration", "IsaacForConditionalGeneration", "JambaForCausalLM"}
    | {"JambaForSequenceClassification", "JinaEmbeddingsV5Model", "JinaForRanking"}
    | {"JinaVLForRanking", "K2HorizonForCausalLM", "KananaVForConditionalGeneration"}
    | {"KeyeForConditionalGeneration", "KeyeVL1_5ForConditionalGeneration"}
    | {"KimiK25ForConditionalGeneration", "KimiK3ForConditionalGeneration"}
    | {"KimiLinearForCausalLM", "KimiVLForConditionalGeneration", "LLaMAForCausalLM"}
    | {"LagunaForCausalLM", "Lfm2BidirectionalModel", "Lfm2ForCausalLM", "Lfm2MoeForCausalLM"}
    | {"Lfm2VlForConditionalGeneration", "LightOnOCRForConditionalGeneration"}
    | {"Llama4ForCausalLM", "Llama4ForConditionalGeneration"}
    | {"LlamaBidirectionalForSequenceClassification", "LlamaBidirectionalModel"}
    | {"LlamaForCausalLM", "LlamaModel", "LlamaNemotronVLForSequenceClassification"}
    | {"LlamaNemotronVLModel", "Llama_Nemotron_Nano_VL", "LlavaForConditionalGeneration"}
    | {"LlavaNextForConditionalGeneration", "LlavaNextVideoForConditionalGeneration"}
    | {"LlavaOnevision2ForConditionalGeneration", "LlavaOnevisionForConditionalGeneration"}
    | {"LongcatFlashForCausalLM", "LongcatFlashNgramForCausalLM", "Mamba2ForCausalLM"}
    | {"MambaForCausalLM", "MiDashengLMModel", "MiMoForCausalLM", "MiMoV2FlashForCausalLM"}
    | {"MiMoV2ForCausalLM", "MiMoV2OmniForCausalLM", "MiniCPM3ForCausalLM"}
    | {"MiniCPMForCausalLM", "MiniCPMO", "MiniCPMOcrForConditionalGeneration", "MiniCPMV"}
    | {"MiniCPMV4_6ForConditionalGeneration", "MiniCPMV4_7ForConditionalGeneration"}
    | {"MiniMaxM2ForCausalLM", "MiniMaxM3SparseForCausalLM"}
    | {"MiniMaxM3SparseForConditionalGeneration", "Ministral3ForCausalLM"}
    | {"Mistral3ForConditionalGeneration", "MistralForCausalLM", "MistralLarge3ForCausalLM"}
    | {"MistralModel", "MixtralForCausalLM", "ModernBertForSequenceClassification"}
    | {"ModernBertForTokenClassification", "ModernBertModel", "ModernVBertModel"}
    | {"Molmo2ForConditionalGeneration", "MolmoForCausalLM", "Moondream3ForCausalLM"}
    | {"MoonshotKimiaForCausalLM", "MossAudioModel"}
    | {"MossTranscribeDiarizeForConditionalGeneration", "MuseGlimmerForCausalLM"}
    | {"MuseGlimmerForConditionalGeneration", "MuseSparkForConditionalGeneration", "NVLM_D"}
    | {"NemotronForCausalLM", "NemotronHForCausalLM", "NemotronHPuzzleForCausalLM"}
    | {"NemotronH_Nano_Omni_Reasoning_V3", "NemotronH_Nano_VL_V2"}
    | {"NemotronH_Omni_Reasoning_V3", "NemotronH_Super_Omni_Reasoning_V3"}
    | {"NemotronParseForConditionalGeneration", "NewModel", "NomicBertModel", "OPTForCausalLM"}
    | {"OlmoHybridForCausalLM", "OlmoeForCausalLM", "OpenAIPrivacyFilterForTokenClassification"}
    | {"OpenCUAForConditionalGeneration", "OpenPanguVLForConditionalGeneration"}
    | {"OpenVLAForActionPrediction", "OpsColQwen3Model", "OrionForCausalLM", "Ovis", "Ovis2_5"}
    | {"Ovis2_6ForCausalLM", "Ovis2_6_MoeForCausalLM", "PaddleOCRVLForConditionalGeneration"}
    | {"PaliGemmaForConditionalGeneration", "PanguEmbeddedForCausalLM"}
    | {"PanguProMoEV2ForCausalLM", "PanguUltraMoEForCausalLM", "Param2MoEForCausalLM"}
    | {"Phi3ForCausalLM", "Phi3VForCausalLM", "Phi4ForCausalLMV", "Phi4MMForCausalLM"}
    | {"PhiMoEForCausalLM", "PixtralForConditionalGeneration", "Plamo3ForCausalLM"}
    | {"QianfanOCRForConditionalGeneration", "Qwen2AudioForConditionalGeneration"}
    | {"Qwen2ForCausalLM", "Qwen2ForProcessRewardModel", "Qwen2ForRewardModel", "Qwen2Model"}
    | {"Qwen2MoeForCausalLM", "Qwen2VLForConditionalGeneration"}
    | {"Qwen2_5OmniForConditionalGeneration", "Qwen2_5OmniModel"}
    | {"Qwen2_5_VLForConditionalGeneration", "Qwen3ASRForConditionalGeneration"}
    | {"Qwen3ASRForcedAlignerForTokenClassification", "Qwen3ASRRealtimeGeneration"}
    | {"Qwen3ForCausalLM", "Qwen3MoeForCausalLM", "Qwen3NextForCausalLM"}
    | {"Qwen3OmniMoeForConditionalGeneration", "Qwen3VLForConditionalGeneration"}
    | {"Qwen3VLMoeForConditionalGeneration", "Qwen3VLNemotronEmbedModel", "Qwen3_5ForCausalLM"}
    | {"Qwen3_5ForConditionalGeneration", "Qwen3_5MoeForCausalLM"}
    | {"Qwen3_5MoeForConditionalGeneration", "Qwen4ExpForCausalLM"}
    | {"Qwen4ExpForConditionalGeneration", "RForConditionalGeneration"}
    | {"RadioMBartPrefixForCausalLM", "Rnj1ForCausalLM", "RobertaForMaskedLM"}
    | {"RobertaForSequenceClassification", "RobertaForTokenClassification", "RobertaModel"}
    | {"SarvamMLAForCausalLM", "SarvamMoEForCausalLM", "SiglipModel", "SkyworkR1VChatModel"}
    | {"SmolVLMForConditionalGeneration", "SolarForCausalLM", "StableLmForCausalLM"}
    | {"Step1ForCausalLM", "Step3TextForCausalLM", "Step3VLForConditionalGeneration"}
    | {"Step3p5ForCausalLM", "Step3p7ForConditionalGeneration", "Step5ForCausalLM"}
    | {"Step5ForConditionalGeneration", "StepVLForConditionalGeneration"}
    | {"TeleChat2ForCausalLM", "TeleChat3ForCausalLM", "TeleFLMForCausalLM", "Terratorch"}
    | {"UltravoxModel", "UnlimitedOCRForCausalLM", "VoxtralForConditionalGeneration"}
    | {"VoxtralRealtimeGeneration", "VoyageQwen3BidirectionalEmbedModel"}
    | {"WhisperForConditionalGeneration", "XLMRobertaForSequenceClassification"}
    | {"XLMRobertaForTokenClassification", "XLMRobertaModel", "Zamba2ForCausalLM"}
)
THROUGH_TRANSFORMERS = frozenset(
    {"ArceeForCausalLM", "CwmForCausalLM", "Emu3ForConditionalGeneration"}
    | {"FlexOlmoForCausalLM", "GPTBigCodeForCausalLM", "GPTNeoXForCausalLM", "GlmForCausalLM"}
    | {"HunYuanDenseV1ForCausalLM", "HunYuanMoEV1ForCausalLM"}
    | {"HunYuanVLForConditionalGeneration", "Jais2ForCausalLM", "Kolibri1ForCausalLM"}
    | {"MellumForCausalLM", "NanbeigeForCausalLM", "Olmo2ForCausalLM", "Olmo3ForCausalLM"}
    | {"OlmoForCausalLM", "PhiForCausalLM", "SeedOssForCausalLM", "SmolLM3ForCausalLM"}
    | {"Starcoder2ForCausalLM", "VaultGemmaForCausalLM", "VibeVoiceAsrForConditionalGeneration"}
)
"""Sent to the Transformers backend by name."""
_NO_LONGER = {
    "AquilaForCausalLM": "0.24.0",
    "AquilaModel": "0.24.0",
    "ArcticForCausalLM": "0.28.0",
    "BaiChuanForCausalLM": "0.23.0",
    "BaichuanForCausalLM": "0.23.0",
    "BambaForCausalLM": "0.23.0",
    "Cheers": "0.28.0",
    "CheersForConditionalGeneration": "0.28.0",
    "DonutForConditionalGeneration": "0.10.2",
    "Fairseq2LlamaForCausalLM": "0.28.0",
    "FireRedLIDForConditionalGeneration": "0.28.0",
    "GritLM": "0.28.0",
    "Grok1ForCausalLM": "0.24.0",
    "Grok1ModelForCausalLM": "0.24.0",
    "HCXVisionForCausalLM": "0.28.0",
    "InternLM2VEForCausalLM": "0.23.0",
    "InternLMForCausalLM": "0.23.0",
    "JAISLMHeadModel": "0.22.0",
    "MPTForCausalLM": "0.28.0",
    "MantisForConditionalGeneration": "0.24.0",
    "MiniMaxM1ForCausalLM": "0.23.0",
    "MiniMaxText01ForCausalLM": "0.23.0",
    "MiniMaxVL01ForConditionalGeneration": "0.23.0",
    "MotifForCausalLM": "0.10.2",
    "MptForCausalLM": "0.28.0",
    "OuroForCausalLM": "0.26.0",
    "Phi3SmallForCausalLM": "0.9.2",
    "Phi4FlashForCausalLM": "0.10.2",
    "Plamo2ForCausalLM": "0.26.0",
    "PrithviGeoSpatialMAE": "0.28.0",
    "QWenLMHeadModel": "0.23.0",
    "QwenVLForConditionalGeneration": "0.23.0",
    "RWForCausalLM": "0.28.0",
    "StableLMEpochForCausalLM": "0.28.0",
    "Tarsier2ForConditionalGeneration": "0.23.0",
    "TarsierForConditionalGeneration": "0.24.0",
    "TeleChatForCausalLM": "0.25.0",
    "XverseForCausalLM": "0.23.0",
}
NO_LONGER: Mapping[str, str] = MappingProxyType(_NO_LONGER)
"""Architectures that were dropped -> the last release that had them."""
