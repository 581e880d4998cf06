"""Names of options in other programs, and the option of a component or command that does the same."""

from __future__ import annotations

from collections.abc import Sequence

from .component_parameters import unknown_name

SAME = (
    (
        "scale",
        "strength",
        "weight",
        "w",
        "guidance_scale",
        "cfg_scale",
        "cfg",
        "guidance",
        "guidance_strength",
        "gamma",
    ),
    ("phi", "guidance_rescale", "rescale"),
    ("negative", "negative_label", "uncond", "negative_class"),
    ("from_", "start", "lo", "sigma_lo", "guidance_low", "t_lo"),
    ("to", "end", "stop", "hi", "sigma_hi", "guidance_high", "t_hi"),
    ("quantile", "dynamic_thresholding_ratio", "percentile", "ratio", "p"),
    ("eta", "s_churn", "tau", "churn", "stochasticity", "noise_scale"),
    ("s_min", "s_tmin", "sigma_min"),
    ("s_max", "s_tmax", "sigma_max"),
    ("order", "points", "solver_order", "max_order"),
    ("method", "solver_type", "integrator"),
    ("p", "rho"),
    ("shift", "flow_shift", "mu"),
    ("beta_min", "beta_start", "beta_0", "beta0"),
    ("beta_max", "beta_end", "beta_1", "beta1", "beta_d"),
    ("n", "num_train_timesteps", "num_timesteps", "timesteps", "diffusion_steps"),
    ("width", "dim", "channels", "ch", "nf", "base_channels", "model_channels", "num_channels", "hidden_size")
    + ("hidden_dim", "hidden", "init_dim", "dim_model"),
    (
        "depth",
        "blocks",
        "layers",
        "n_layers",
        "num_layers",
        "num_blocks",
        "num_res_blocks",
        "layers_per_block",
        "res_blocks",
    ),
    ("multipliers", "dim_mults", "ch_mult", "channel_mult", "channel_multipliers", "mults", "channel_multiplier"),
    ("attention", "attn_resolutions", "attention_resolutions", "attn", "attention_head_dim"),
    ("heads", "num_heads", "n_heads", "attention_heads"),
    ("head_channels", "num_head_channels", "dim_head"),
    ("dropout", "p_dropout", "dropout_rate"),
    ("embedding", "emb_dim", "time_dim", "time_embed_dim", "emb_channels"),
    ("learning_rate", "lr", "learning-rate"),
    ("batch_size", "bs", "bsz", "batch", "train_batch_size", "per_device_train_batch_size"),
    ("steps", "max_steps", "num_steps", "iterations", "max_iters", "train_num_steps", "total_steps", "num_train_steps")
    + ("n_steps", "iters", "max_train_steps", "total_iters"),
    ("time_limit", "max_time", "timeout", "max_duration"),
    ("ema", "ema_decay", "ema_rate", "ema_beta", "ema_half_life"),
    ("warm_up", "warmup", "warmup_steps", "lr_warmup_steps", "num_warmup_steps"),
    ("decay", "lr_scheduler", "lr_schedule", "lr_decay", "scheduler"),
    ("weight_decay", "wd", "adam_weight_decay"),
    ("beta2", "adam_beta2", "b2"),
    ("clip", "grad_clip", "max_grad_norm", "gradient_clip_val", "clip_grad_norm"),
    ("drop", "p_uncond", "cfg_dropout", "class_dropout_prob", "cond_drop_prob", "uncond_prob", "label_dropout"),
    ("precision", "mixed_precision", "dtype", "amp", "fp16"),
    ("augment", "augmentation", "aug_prob", "random_flip"),
    ("held_out", "val_split", "validation_split", "test_split", "val_fraction"),
    ("checkpoint_every", "save_every", "checkpointing_steps", "save_interval", "save_steps", "every_n_train_steps"),
    ("keep_every", "save_model_epochs", "snapshot_interval", "save_top_k"),
    ("log_every", "log_interval", "log_every_n_steps", "logging_steps"),
    (
        "preview_every",
        "sample_every",
        "sample_interval",
        "validation_steps",
        "save_images_epochs",
        "save_and_sample_every",
    ),
    ("evaluate_every", "eval_every", "eval_steps", "val_check_interval", "eval_interval"),
    ("seed", "random_seed", "manual_seed", "random_state"),
    ("size", "resolution", "image_size", "img_size", "resize"),
    ("n", "n_samples", "num_samples", "samples", "n_points"),
    ("noise", "noise_std"),
    ("factor", "scale_factor", "sf", "upscale", "scale"),
    ("std", "sigma", "blur_sigma", "width"),
    ("kernel", "psf", "kernel_file"),
    ("mask", "mask_image", "mask_path", "file"),
    ("image", "init_image", "path", "original"),
    ("keep", "fraction", "keep_probability", "acceleration", "p"),
    ("angles", "num_angles", "n_angles", "views"),
    ("strength", "zeta", "step_size", "scale"),
    ("particles", "num_particles", "n_particles", "k"),
    ("repeats", "resample_steps", "jump_n_sample", "num_resamples", "n_resample"),
    ("separator", "sep", "delimiter"),
    ("label", "label_column", "target", "y", "class_column"),
    ("columns", "usecols", "features"),
    ("run", "path", "checkpoint", "model", "ckpt"),
    ("rtol", "tol", "tolerance", "relative_tolerance"),
    ("atol", "tol", "tolerance", "absolute_tolerance"),
    ("max_calls", "max_nfe", "max_steps", "max_num_steps"),
)
"""Groups of names with the same meaning; a component has at most the names that are written first."""

OF_COMMAND = {
    **dict.fromkeys(("num_inference_steps", "steps", "num_steps", "sampling_steps", "n_steps"), "--steps"),
    **dict.fromkeys(("nfe", "max_nfe"), "--nfe"),
    **dict.fromkeys(("guidance_scale", "cfg_scale", "cfg"), "--guidance cfg:scale="),
    **dict.fromkeys(("schedule", "noise_schedule", "use_karras_sigmas"), "--grid"),
    **dict.fromkeys(("seed", "seeds", "generator"), "--seeds"),
    **dict.fromkeys(("batch_size", "bs"), "--batch-size"),
    **dict.fromkeys(("device", "gpu", "cuda"), "--device"),
    **dict.fromkeys(("class", "class_label", "label", "class_labels"), "--label"),
}
"""Names that no component has as an option, and the option of the command that does the same."""


def same_option(name: str, known: Sequence[str]) -> str | None:
    """Return the option that does the same as an option of another program.

    Arguments:
        name: Name of the option there; case, hyphens and underscores do not matter.
        known: Names of the options here.
    Returns:
        The name here, or None if no equivalent is known.
    """
    plain = name.lower().replace("-", "_").removesuffix("_")
    for group in SAME:
        if plain in group or f"{plain}_" in group:
            for option in group:
                if option in known:
                    return option
    return next((option for option in known if option.replace("_", "") == plain.replace("_", "")), None)


def unknown_option(subject: str, name: str, known: Sequence[str]) -> str:
    """Write the message for an unknown option: with its equivalent here, or a similar name.

    Arguments:
        subject: Component or command that was given the option, such as "sampler 'ddim'".
        name: The unknown name.
        known: Names of the options that it has.
    Returns:
        The message.
    """
    from .option_text import option_name

    written, shown = option_name(name), sorted(map(option_name, known))
    start = f"no option of {subject} named {written!r}"
    if same := same_option(name, known):
        return f"{start}; the equivalent in sdekit is {option_name(same)}. It has: {', '.join(shown)}"
    message = unknown_name(f"option of {subject} named", written, shown, "It has")
    if "did you mean" not in message and (option := OF_COMMAND.get(name.lower().replace("-", "_"))):
        return f"{start}; it is an option of the command: {option}. It has: {', '.join(shown) or 'none'}"
    return message
