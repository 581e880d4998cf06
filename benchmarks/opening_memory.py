"""Peak memory of opening a synthetic Stable Diffusion folder of about 2 GB, as a multiple of the size of its weights.

    python benchmarks/opening_memory.py [GIGABYTES] [fp32|bf16]

The folder is written by one process and opened by another one, whose memory is measured: the peak of its resident
memory after the imports, with every tensor read once.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

SOURCE = """
import resource, sys, threading, time
import diffusers, transformers, torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer
from sdekit.models import open_model

def memory(name):
    for line in open("/proc/self/status"):
        if line.startswith(name):
            return int(line.split()[1]) * 1024

open("/proc/self/clear_refs", "w").write("5")  # resets the peak
before = memory("VmRSS")
opened = open_model(f"diffusers:{sys.argv[1]},dtype={sys.argv[2]}")
parts = [opened.model, opened.codec, opened.encoder]
total = 0.0
for part in parts:
    for parameter in part.parameters():
        total += float(parameter.view(-1)[:: 512].float().sum())  # reads every page
size = sum(p.numel() * p.element_size() for part in parts for p in part.parameters())
print(size, memory("VmHWM") - before)
"""


def write(folder: Path, gigabytes: float) -> int:
    """Write a pipeline of about this size, tensor by tensor, and return the size of its weights in bytes."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "plugins" / "loaders"))
    from conftest import Parts, sd15  # type: ignore[import-not-found]
    from diffusers import UNet2DConditionModel

    pipeline = sd15(Parts(folder.parent))
    width = 64
    config = dict(pipeline.unet.config)

    def unet(width: int) -> nn.Module:
        with torch.device("meta"):
            return UNet2DConditionModel.from_config(config | {"block_out_channels": (width, 4 * width)})

    while 4 * sum(p.numel() for p in unet(width).parameters()) < gigabytes * 1e9:
        width += 64
    pipeline.save_pretrained(folder)
    network = unet(width)
    weights = {name: torch.full(p.shape, 1e-3) for name, p in network.state_dict().items()}
    save_file(weights, folder / "unet" / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    (folder / "unet" / "config.json").write_text(
        json.dumps(config | {"block_out_channels": [width, 4 * width], "_class_name": "UNet2DConditionModel"})
    )
    return sum(w.numel() * w.element_size() for w in weights.values())


def main() -> None:
    """Write the folder, open it in a new process, and print the ratio."""
    gigabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    dtype = sys.argv[2] if len(sys.argv) > 2 else "fp32"
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "pipeline", gigabytes)
        run = subprocess.run(
            [sys.executable, "-c", SOURCE, str(Path(folder) / "pipeline"), dtype], capture_output=True, text=True
        )
        if run.returncode:
            sys.exit(run.stderr)
    size, peak = map(int, run.stdout.split()[-2:])
    print(
        f"weights {size / 1e9:.2f} GB in {dtype}, peak memory {peak / 1e9:.2f} GB: {peak / size:.2f} times their size"
    )


if __name__ == "__main__":
    main()
