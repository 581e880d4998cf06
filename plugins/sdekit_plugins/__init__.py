"""The samplers and guidances that come with sdekit: one method a file, each what a third party's package would hold."""

from sdekit import hookimpl


@hookimpl
def sdekit_samplers() -> dict[str, str]:
    """Names of the built-in samplers, imported when they are used."""
    return {
        "adaptive-sde": "sdekit_plugins.adaptive_sde:AdaptiveSDE",
        "auto": "sdekit_plugins.auto:Auto",
        "ddim": "sdekit_plugins.ddim:DDIM",
        "ddpm": "sdekit_plugins.ddpm:DDPM",
        "deis": "sdekit_plugins.deis:DEIS",
        "dpm-2": "sdekit_plugins.dpm_2:DPM2",
        "dpmpp-2m": "sdekit_plugins.dpmpp_2m:DPMpp2M",
        "dpmpp-2m-sde": "sdekit_plugins.dpmpp_2m_sde:DPMpp2MSDE",
        "dpmpp-2s": "sdekit_plugins.dpmpp_2s:DPMpp2S",
        "dpmpp-3m": "sdekit_plugins.dpmpp_3m:DPMpp3M",
        "dpmpp-3m-sde": "sdekit_plugins.dpmpp_3m_sde:DPMpp3MSDE",
        "dpmpp-sde": "sdekit_plugins.dpmpp_sde:DPMppSDE",
        "edm-stochastic": "sdekit_plugins.edm_stochastic:EDMStochastic",
        "er-sde": "sdekit_plugins.er_sde:ERSDE",
        "euler-ancestral": "sdekit_plugins.euler_ancestral:EulerAncestral",
        "euler-maruyama": "sdekit_plugins.euler_maruyama:EulerMaruyama",
        "exp-rk3": "sdekit_plugins.exp_rk3:ExpRK3",
        "gradient-estimation": "sdekit_plugins.gradient_estimation:GradientEstimation",
        "heun": "sdekit_plugins.heun:Heun",
        "ipndm": "sdekit_plugins.ipndm:IPNDM",
        "lms": "sdekit_plugins.lms:LMS",
        "ode": "sdekit_plugins.ode:ODE",
        "pc": "sdekit_plugins.pc:PC",
        "restart": "sdekit_plugins.restart:Restart",
        "reverse-diffusion": "sdekit_plugins.reverse_diffusion:ReverseDiffusion",
        "sa-solver": "sdekit_plugins.sa_solver:SASolver",
        "unipc": "sdekit_plugins.unipc:UniPC",
    }


@hookimpl
def sdekit_guidances() -> dict[str, str]:
    """Names of the built-in guidances, imported when they are used."""
    return {
        "apg": "sdekit_plugins.apg:apg",
        "autoguidance": "sdekit_plugins.autoguidance:autoguidance",
        "cfg": "sdekit_plugins.cfg:cfg",
        "cfg++": "sdekit_plugins.cfg_pp:cfg_pp",
        "cfg-zero-star": "sdekit_plugins.cfg_zero_star:cfg_zero_star",
        "classifier": "sdekit_plugins.classifier:classifier",
        "energy": "sdekit_plugins.energy:energy",
        "inpaint": "sdekit_plugins.inpaint:inpaint",
        "interval": "sdekit_plugins.interval:interval",
        "rescale": "sdekit_plugins.rescale:rescale",
    }


@hookimpl
def sdekit_restorers() -> dict[str, str]:
    """Methods for inverse problems: guidances, and samplers of their own."""
    return {
        "ddrm": "sdekit_plugins.ddrm:DDRM",
        "diffpir": "sdekit_plugins.diffpir:DiffPIR",
        "dps": "sdekit_plugins.dps:dps",
        "mmps": "sdekit_plugins.mmps:mmps",
        "pigdm": "sdekit_plugins.pigdm:pigdm",
        "repaint": "sdekit_plugins.repaint:RePaint",
        "replacement": "sdekit_plugins.replacement:Replacement",
        "tds": "sdekit_plugins.tds:TDS",
        "tmpd": "sdekit_plugins.tmpd:tmpd",
    }


@hookimpl
def sdekit_backends() -> dict[str, str]:
    """Ways to run a network, imported when they are used."""
    return {
        "auto": "sdekit_plugins.backend_auto:auto",
        "bf16": "sdekit_plugins.backend_autocast:bf16",
        "channels-last": "sdekit_plugins.backend_channels_last:channels_last",
        "compile": "sdekit_plugins.backend_compile:compiled",
        "cuda-graph": "sdekit_plugins.backend_cuda_graph:cuda_graph",
        "eager": "sdekit_plugins.backend_eager:eager",
        "export": "sdekit_plugins.backend_export:export",
        "fp16": "sdekit_plugins.backend_autocast:fp16",
        "int8": "sdekit_plugins.backend_int8:int8",
        "onnx": "sdekit_plugins.backend_onnx:onnx",
    }
