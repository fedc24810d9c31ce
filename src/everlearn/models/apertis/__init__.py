"""Apertis: our own family of models, one transformers model of several kinds of layers.

Importing this package makes the family known to transformers' Auto classes; nothing else happens.
"""

from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForCausalLM, AutoProcessor

from everlearn.models.apertis.configuration import ApertisConfig
from everlearn.models.apertis.experts import ExpertLoad, balance_experts, expert_loads
from everlearn.models.apertis.modeling import ApertisForCausalLM, ApertisModel
from everlearn.models.apertis.processing import ApertisImageProcessor, ApertisProcessor
from everlearn.models.apertis.registration import register_cache_layers

AutoConfig.register("apertis", ApertisConfig, exist_ok=True)
AutoModel.register(ApertisConfig, ApertisModel, exist_ok=True)
AutoModelForCausalLM.register(ApertisConfig, ApertisForCausalLM, exist_ok=True)
AutoImageProcessor.register(ApertisConfig, slow_image_processor_class=ApertisImageProcessor, exist_ok=True)
AutoProcessor.register(ApertisConfig, ApertisProcessor, exist_ok=True)
register_cache_layers()

__all__ = [
    "ApertisConfig",
    "ApertisForCausalLM",
    "ApertisImageProcessor",
    "ApertisModel",
    "ApertisProcessor",
    "ExpertLoad",
    "balance_experts",
    "expert_loads",
]
