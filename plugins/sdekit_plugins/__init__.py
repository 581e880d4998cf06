"""The samplers that come with sdekit: one method a file, each what a third party's package would hold."""

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
