"""ComfyUI node: all samplers of sdekit. Copy this folder to ComfyUI/custom_nodes, and `pip install sdekit` there."""

import comfy.samplers

from sdekit.integrations.k_diffusion import sampler
from sdekit.registry import component_names


class SdekitSampler:
    """Node with one output, SAMPLER, for "SamplerCustom" and "SamplerCustomAdvanced"."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("SAMPLER",), "create", "sampling/custom_sampling/samplers"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {"name": (component_names("sampler"), {"default": "auto"})}}

    def create(self, name: str) -> tuple:
        return (comfy.samplers.KSAMPLER(sampler(name)),)


NODE_CLASS_MAPPINGS = {"SdekitSampler": SdekitSampler}
NODE_DISPLAY_NAME_MAPPINGS = {"SdekitSampler": "sdekit sampler"}
