"""Files of weights: torch.save and safetensors, read as plain data and as tensors by name."""
