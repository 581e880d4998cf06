"""Planning of a training: a recipe from names and options, its defaults, and messages about wrong input."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sdekit import registry
from sdekit.errors import InputError
from sdekit.networks import MLP, UNet
from sdekit.training import load_data, plan

STEPS = {"train": {"steps": 1}}


def test_everything_is_recorded() -> None:
    """The recipe contains shape, units, labels and every option, also the sizes that the network chose."""
    recipe, data = plan("digits", options=STEPS)
    assert (recipe.shape, recipe.kind, recipe.items, recipe.classes) == ((1, 8, 8), "image", 1797, 10)
    assert recipe.units == data.units and recipe.class_names == tuple("0123456789")
    assert recipe.network.name == "unet" and recipe.network.options["width"] == 24
    assert recipe.sde.name == "vp" and recipe.sde.options["beta_max"] == 20
    assert recipe.data.name == "digits" and recipe.prediction == "edm" and recipe.condition == "none"


def test_data_std() -> None:
    """data_std is the standard deviation of the training items in the model's units, to four digits."""
    recipe, data = plan("digits", options={"train": {"steps": 1, "held_out": 0.0}})
    assert recipe.data_std == pytest.approx(float(data.batch(np.arange(1797)).x.std()), abs=6e-5)
    assert plan("moons", options=STEPS)[0].data_std == pytest.approx(1.0, abs=0.02)


def test_network_suits_the_data(tmp_path: Path) -> None:
    """A U-Net for images of at least 8 pixels a side, an MLP for smaller images and for vectors."""
    rng = np.random.default_rng(0)
    found = {}
    for shape in [(20, 8, 12), (20, 7, 8), (20, 5)]:
        np.save(tmp_path / "x.npy", rng.random(shape))
        found[shape[1:]] = plan(f"array:{tmp_path / 'x.npy'}", options=STEPS)[0].network.name
    assert found == {(8, 12): "unet", (7, 8): "mlp", (5,): "mlp"}


def test_volumes_are_trained_in_patches() -> None:
    """Volumes of at least 16 voxels a side have patches of 2 voxels a side, unless the options say otherwise."""
    rng = np.random.default_rng(0)
    large, small = rng.random((4, 1, 16, 17, 16), np.float32), rng.random((4, 1, 15, 16, 16), np.float32)
    found = [plan(x, options=STEPS)[0].network.options["patch"] for x in (large, small)]
    other = plan(large, options=STEPS | {"network": {"patch": 1}})[0]
    assert [*found, other.network.options["patch"]] == [2, 1, 1]
    assert plan(large[:, :, 0], options=STEPS)[0].network.options["patch"] == 1


def test_runs_without_the_option_patch_have_no_patches() -> None:
    """A recipe of an earlier version, without the option `patch`, builds the network without patches."""
    volumes = np.random.default_rng(0).random((4, 1, 16, 16, 16), np.float32)
    recipe = plan(volumes, options=STEPS | {"network": {"patch": 1, "width": 8}})[0]
    options = {name: value for name, value in recipe.network.options.items() if name != "patch"}
    earlier = replace(recipe, network=replace(recipe.network, options=options))
    assert earlier.build().network.patch == 1
    assert {k: v.shape for k, v in earlier.build().state_dict().items()} == {
        k: v.shape for k, v in recipe.build().state_dict().items()
    }


def test_initial_weights_follow_from_the_seed() -> None:
    """The initial weights are a function of train.seed, and building does not change the global generator."""
    import torch

    state = torch.get_rng_state()
    one, same, other = (
        plan("moons", network="mlp", options={"network": {"width": 8}, "train": {"steps": 1, "seed": s}})[0].build()
        for s in (3, 3, 4)
    )
    assert torch.equal(torch.get_rng_state(), state)
    a, b, c = (m.network.state_dict() for m in (one, same, other))
    assert all(torch.equal(a[k], b[k]) for k in a) and not torch.equal(a["first.weight"], c["first.weight"])


@pytest.mark.parametrize(("condition", "classes"), [("none", 0), ("label", 2)])
def test_condition(condition: str, classes: int) -> None:
    """ "label" builds a network that takes the data set's labels, "none" one that takes none."""
    network = plan("moons", condition=condition, options=STEPS)[0].build().network
    assert isinstance(network, MLP)
    label = network.condition.label
    assert (0 if label is None else label.num_embeddings) == classes


@pytest.mark.parametrize("sde", registry.component_names("sde"))
def test_every_process_can_be_trained(sde: str) -> None:
    """A model can be built on every registered process with its default options."""
    model = plan("moons", sde=sde, options=STEPS)[0].build()
    assert model.sde == registry.build("sde", sde) and isinstance(model.network, MLP)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spec": "digts"}, "no dataset 'digts'; did you mean 'digits'"),
        ({"spec": "images"}, "needs a path: write images:PATH"),
        ({"spec": "digits:x"}, "takes no path: write digits"),
        ({"sde": "vpp"}, "no process 'vpp'; did you mean 'vp'"),
        ({"network": "unett"}, "no network 'unett'; did you mean 'unet'"),
        ({"prediction": "edmm"}, "no prediction 'edmm'; did you mean 'edm'"),
        ({"options": STEPS | {"network": {"conditions": -1}}}, "network.conditions follows from the data"),
        ({"prediction": "eps", "sde": "rectified-flow"}, "divides by alpha, which is 0"),
        ({"condition": "labels"}, "condition must be 'none' or 'label', got 'labels'"),
        ({"spec": "swiss-roll", "condition": "label"}, "no labels to condition on"),
        ({"options": {"trian": {}}}, "no group of options 'trian'"),
        ({"options": STEPS | {"sde": {"beta": 1}}}, "no option of process 'vp' named 'beta'"),
        ({"options": {"train": {"steps": 1, "held_out": 0.999999}}}, "leaves no item to train on"),
        ({"spec": "moons", "options": {"train": {"steps": 1, "augment": 0.1}}}, "data 'moons' are not images"),
        ({"options": STEPS | {"network": {"augmentation": 9}}}, "network.augmentation follows from the training"),
        (
            {"spec": "moons", "options": {"train": {"steps": 1, "batch_size": 2**30 + 1}}},
            "batch_size 1073741825 of .* 2 n",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_errors(arguments: dict[str, object], message: str) -> None:
    """Wrong names and contradicting options are errors that name the remedy."""
    with pytest.raises(InputError, match=message):
        plan(**{"options": STEPS} | arguments)  # type: ignore[arg-type]


def test_constant_data(tmp_path: Path) -> None:
    """Constant data are an error, because nothing can be learned from them."""
    np.save(tmp_path / "x.npy", np.ones((10, 3)))
    with pytest.raises(InputError, match="constant"):
        plan(f"array:{tmp_path / 'x.npy'}", options=STEPS)


def test_load_data_records_defaults() -> None:
    """The component of a data set contains all of its options, also those with default values."""
    data, component = load_data("moons", n=50)
    assert len(data) == 50
    assert component.options == {**component.options, "n": 50, "seed": 0} and "noise" in component.options


@pytest.mark.parametrize(
    ("shape", "given", "train"),
    [
        ((10, 8, 8, 1), {}, (64, 4e-3, -1.0)),
        ((10, 14, 14, 1), {}, (64, 4e-3, -1.0)),
        ((10, 8, 20, 3), {}, (32, 2e-3, -1.0)),
        ((10, 8, 20, 3), {"noise_mean": -2.0, "batch_size": 5}, (5, 2e-3, -2.0)),
        ((10, 300), {}, (32, 2e-3, -1.0)),
    ],
)
def test_training_suits_the_data(
    tmp_path: Path, shape: tuple[int, ...], given: dict[str, float], train: object
) -> None:
    """Small items have larger batches and a higher learning rate; options that are given are kept."""
    if len(shape) == 2:
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    else:
        x = np.random.default_rng(0).uniform(-1, 1, (shape[0], shape[3], *shape[1:3])).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    options = plan(f"array:{tmp_path / 'x.npy'}", options={"train": STEPS["train"] | given})[0].train
    assert (options.batch_size, options.learning_rate, options.noise_mean) == train


def test_augmentation_adds_its_vector_to_the_network() -> None:
    recipe, _ = plan("digits", options={"train": {"steps": 1, "augment": 0.1}})
    assert recipe.network.options["augmentation"] == 9
    assert plan("digits", options=STEPS)[0].network.options["augmentation"] == 0


@pytest.mark.parametrize(("size", "items"), [(2, 16384), (5, 6553), (16, 2048), (300, 2048)])
def test_exact_targets_are_for_more_items_if_each_has_few_numbers(tmp_path: Path, size: int, items: int) -> None:
    """The largest number of items grows as the items get smaller; a value that is set is kept."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(10, size)).astype(np.float32))
    spec = f"array:{tmp_path / 'x.npy'}"
    assert plan(spec, options=STEPS)[0].train.exact_target == items
    asked = {"train": STEPS["train"] | {"exact_target": 0}}
    assert plan(spec, options=asked)[0].train.exact_target == 0


def test_unet_by_name() -> None:
    """The network is built with the options of its group."""
    recipe, _ = plan("digits", network="unet", options=STEPS | {"network": {"width": 8, "multipliers": (1, 1)}})
    network = recipe.build().network
    assert isinstance(network, UNet) and network.options["multipliers"] == (1, 1) and network.first.out_channels == 8


def numbers_table(path: Path) -> Path:
    """Write a table of columns (a, u, b, v), of which a depends on u, with different scales."""
    rng = np.random.default_rng(0)
    u, v = rng.normal(100, 20, 60), rng.normal(-3, 0.1, 60)
    rows = np.stack([u / 20 + rng.normal(0, 0.1, 60), u, rng.normal(0, 1, 60), v], 1)
    file = path / "t.csv"
    file.write_text("a,u,b,v\n" + "\n".join(",".join(f"{value:.6f}" for value in row) for row in rows))
    return file


def test_numbers_to_condition_on(tmp_path: Path) -> None:
    """Columns of a table become the condition; the recipe and the network contain their names, units and number."""
    spec = f"table:{numbers_table(tmp_path)}"
    recipe, data = plan(spec, condition="v,u", options=STEPS)
    assert (recipe.condition, recipe.condition_names, recipe.shape) == ("numbers", ("v", "u"), (2,))
    assert recipe.network.options["conditions"] == 2 and recipe.data.options["condition"] == "v,u"
    assert recipe.condition_units is not None and recipe.condition_units.shift[1] == pytest.approx(100, abs=6)  # type: ignore[index]
    y = data.batch(range(60)).y
    assert y is not None and y.shape == (60, 2) and y.mean(0).abs().max() < 1e-6
    assert recipe.conditioning.numbers == 2 and not recipe.conditioning.null
    assert type(recipe).from_dict(recipe.as_dict()) == recipe
    by_option = plan(spec, options={"data": {"condition": "v,u"}, **STEPS})[0]
    assert by_option == recipe


@pytest.mark.parametrize(
    ("spec", "condition", "drop", "message"),
    [
        ("digits", "width", 0.0, "condition must be 'none' or 'label', got 'width'"),
        ("digits", "none", 0.1, "there is no condition to drop: add --condition label"),
        ("digits", "label", 1.0, "drop must be at least 0 and below 1"),
        ("table:", "c", 0.0, "no column of t.csv .* 'c'.* Columns: a, u, b, v"),
        ("table:", "a,a", 0.0, "the condition 'a,a' names a column twice"),
        ("table:", "a,b,u,v", 0.0, "names every column"),
        ("table:", "label", 0.0, "has no labels to condition on"),
    ],
)
def test_conditions_that_the_data_do_not_have(
    tmp_path: Path, spec: str, condition: str, drop: float, message: str
) -> None:
    spec = f"table:{numbers_table(tmp_path)}" if spec == "table:" else spec
    with pytest.raises(InputError, match=message):
        plan(spec, condition=condition, options={"train": {"steps": 1, "drop": drop}})
