"""The components that come with sdekit, registered in the same way as those of other plugins: one method per file."""

from sdekit import hookimpl


@hookimpl
def sdekit_samplers() -> dict[str, str]:
    """Return the built-in samplers by name; a module is imported when it is used."""
    return {
        "adaptive-sde": "sdekit_plugins.samplers.adaptive_sde:AdaptiveSDE",
        "auto": "sdekit_plugins.samplers.auto:Auto",
        "ddim": "sdekit_plugins.samplers.ddim:DDIM",
        "ddpm": "sdekit_plugins.samplers.ddpm:DDPM",
        "deis": "sdekit_plugins.samplers.deis:DEIS",
        "dpm-2": "sdekit_plugins.samplers.dpm_2:DPM2",
        "dpmpp-2m": "sdekit_plugins.samplers.dpmpp_2m:DPMpp2M",
        "dpmpp-2m-sde": "sdekit_plugins.samplers.dpmpp_2m_sde:DPMpp2MSDE",
        "dpmpp-2s": "sdekit_plugins.samplers.dpmpp_2s:DPMpp2S",
        "dpmpp-2s-ancestral": "sdekit_plugins.samplers.dpmpp_2s_ancestral:DPMpp2SAncestral",
        "dpmpp-3m": "sdekit_plugins.samplers.dpmpp_3m:DPMpp3M",
        "dpmpp-3m-sde": "sdekit_plugins.samplers.dpmpp_3m_sde:DPMpp3MSDE",
        "dpmpp-sde": "sdekit_plugins.samplers.dpmpp_sde:DPMppSDE",
        "edm-stochastic": "sdekit_plugins.samplers.edm_stochastic:EDMStochastic",
        "er-sde": "sdekit_plugins.samplers.er_sde:ERSDE",
        "euler-ancestral": "sdekit_plugins.samplers.euler_ancestral:EulerAncestral",
        "euler-maruyama": "sdekit_plugins.samplers.euler_maruyama:EulerMaruyama",
        "exp-rk3": "sdekit_plugins.samplers.exp_rk3:ExpRK3",
        "gradient-estimation": "sdekit_plugins.samplers.gradient_estimation:GradientEstimation",
        "heun": "sdekit_plugins.samplers.heun:Heun",
        "ipndm": "sdekit_plugins.samplers.ipndm:IPNDM",
        "lms": "sdekit_plugins.samplers.lms:LMS",
        "ode": "sdekit_plugins.samplers.ode:ODE",
        "pc": "sdekit_plugins.samplers.pc:PC",
        "restart": "sdekit_plugins.samplers.restart:Restart",
        "reverse-diffusion": "sdekit_plugins.samplers.reverse_diffusion:ReverseDiffusion",
        "sa-solver": "sdekit_plugins.samplers.sa_solver:SASolver",
        "seeds-3": "sdekit_plugins.samplers.seeds_3:SEEDS3",
        "unipc": "sdekit_plugins.samplers.unipc:UniPC",
    }


@hookimpl
def sdekit_guidances() -> dict[str, str]:
    """Return the built-in guidances by name; a module is imported when it is used."""
    return {
        "apg": "sdekit_plugins.guidance.apg:apg",
        "autoguidance": "sdekit_plugins.guidance.autoguidance:autoguidance",
        "cfg": "sdekit_plugins.guidance.cfg:cfg",
        "cfg++": "sdekit_plugins.guidance.cfg_pp:cfg_pp",
        "cfg-zero-star": "sdekit_plugins.guidance.cfg_zero_star:cfg_zero_star",
        "classifier": "sdekit_plugins.guidance.classifier_guidance:classifier",
        "clip": "sdekit_plugins.guidance.clip:clip",
        "energy": "sdekit_plugins.guidance.energy:energy",
        "inpaint": "sdekit_plugins.guidance.inpaint:inpaint",
        "interval": "sdekit_plugins.guidance.interval:interval",
        "rescale": "sdekit_plugins.guidance.rescale:rescale",
        "threshold": "sdekit_plugins.guidance.threshold:threshold",
    }


@hookimpl
def sdekit_restorers() -> dict[str, str]:
    """Return the methods for inverse problems by name: guidances and samplers."""
    return {
        "ddrm": "sdekit_plugins.inverse.ddrm:DDRM",
        "diffpir": "sdekit_plugins.inverse.diffpir:DiffPIR",
        "dps": "sdekit_plugins.inverse.dps:dps",
        "mmps": "sdekit_plugins.inverse.mmps:mmps",
        "pigdm": "sdekit_plugins.inverse.pigdm:pigdm",
        "repaint": "sdekit_plugins.inverse.repaint:RePaint",
        "replacement": "sdekit_plugins.inverse.replacement:Replacement",
        "tds": "sdekit_plugins.inverse.tds:TDS",
        "tmpd": "sdekit_plugins.inverse.tmpd:tmpd",
    }


@hookimpl
def sdekit_backends() -> dict[str, str]:
    """Return the backends, which run a network, by name; a module is imported when it is used."""
    return {
        "auto": "sdekit_plugins.backends.automatic:auto",
        "bf16": "sdekit_plugins.backends.autocast:bf16",
        "channels-last": "sdekit_plugins.backends.channels_last:channels_last",
        "compile": "sdekit_plugins.backends.compiled:compiled",
        "cuda-graph": "sdekit_plugins.backends.cuda_graph:cuda_graph",
        "eager": "sdekit_plugins.backends.eager:eager",
        "export": "sdekit_plugins.backends.ahead_of_time:export",
        "fp16": "sdekit_plugins.backends.autocast:fp16",
        "int8": "sdekit_plugins.backends.int8:int8",
        "onnx": "sdekit_plugins.backends.onnx_runtime:onnx",
    }


@hookimpl
def sdekit_datasets() -> dict[str, str]:
    """Return the data sets of other libraries by name."""
    return {"hf": "sdekit_plugins.datasets.hugging_face:hf"}


@hookimpl
def sdekit_metrics() -> dict[str, str]:
    """Return the metrics, which compare samples with data, by name; a module is imported when it is used."""
    return {
        "classifier-test": "sdekit_plugins.metrics.classifier_test:classifier_accuracy",
        "correlations": "sdekit_plugins.metrics.column_tests:correlations",
        "coverage": "sdekit_plugins.metrics.neighbour_shares:coverage",
        "density": "sdekit_plugins.metrics.neighbour_shares:density",
        "energy": "sdekit_plugins.metrics.energy_statistic:energy_distance",
        "frechet": "sdekit_plugins.metrics.frechet:frechet_distance",
        "kernel": "sdekit_plugins.metrics.kernel_distances:kernel_distance",
        "ks": "sdekit_plugins.metrics.column_tests:ks",
        "mmd": "sdekit_plugins.metrics.kernel_distances:mmd",
        "power-spectrum": "sdekit_plugins.metrics.power_spectrum:power_spectrum_distance",
        "precision": "sdekit_plugins.metrics.neighbour_shares:precision",
        "recall": "sdekit_plugins.metrics.neighbour_shares:recall",
        "sliced-w2": "sdekit_plugins.metrics.sliced_wasserstein:sliced_w2",
    }


@hookimpl
def sdekit_features() -> dict[str, str]:
    """Return the extractors of features by name; a module is imported when it is used."""
    return {
        "classifier": "sdekit_plugins.features.classifier_features:classifier_features",
        "program": "sdekit_plugins.features.network_files:program",
        "raw": "sdekit_plugins.features.raw_values:raw",
        "weights": "sdekit_plugins.features.network_files:weights",
    }


@hookimpl
def sdekit_loggers() -> dict[str, str]:
    """Return the loggers of trackers, by name."""
    return {
        "tensorboard": "sdekit_plugins.loggers.tensorboard_logger:TensorBoard",
        "trackio": "sdekit_plugins.loggers.trackio_logger:Trackio",
        "wandb": "sdekit_plugins.loggers.wandb_logger:WandB",
    }


@hookimpl
def sdekit_loaders() -> dict[str, str]:
    """Return the loaders of models that other toolkits saved, by name."""
    return {
        "bare": "sdekit_plugins.loaders.single_files.bare_weights:bare",
        "compvis": "sdekit_plugins.loaders.single_files.compvis:compvis",
        "diffusers": "sdekit_plugins.loaders.diffusers_pipelines:load_pipeline",
        "edm": "sdekit_plugins.loaders.checkpoints.edm_checkpoints:load_edm",
        "guided-diffusion": "sdekit_plugins.loaders.checkpoints.guided_diffusion_checkpoints:load_guided_diffusion",
        "hub": "sdekit_plugins.loaders.hub:load_from_hub",
        "k-diffusion": "sdekit_plugins.loaders.single_files.k_diffusion_file:k_diffusion",
        "lucidrains": "sdekit_plugins.loaders.single_files.lucidrains:lucidrains",
        "score-sde": "sdekit_plugins.loaders.checkpoints.score_sde_checkpoints:load_score_sde",
    }
