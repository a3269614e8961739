"""Maps of latent spaces: known spaces get the scores they deserve, and the command runs."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

from lee_bench.cli import main
from lee_bench.errors import UsageError
from lee_bench.evidence.latent import plane, silhouettes, terciles
from methods.gensr import checkpoint
from methods.gensr.config import ModelConfig
from methods.gensr.model import GenSR
from methods.network import latent
from methods.network.latent import FAMILIES, Coder
from methods.symbolic import vocabulary as tok

TINY = ModelConfig(
    width=32, heads=2, hidden=48, cell=16, encoders=1, decoders=1, z_width=16, max_length=12
)
ROWS = tok.stack([tok.encode("* x0 exp neg x1"), tok.encode("/ sin x0 x1")])


def toy(settle=lambda z: z) -> Coder:
    """Encodes the first value of y; decodes one of two rows, by which z is nearer 0 than 1."""

    def encode(X, y, variables):
        z = torch.zeros(len(y), 14, 2)
        z[:, :4] = y[:, :1, None]
        z[:, 4:] = torch.arange(10.0)[:, None]
        return z

    def decode(z, variables):
        middle = z[:, 0, 0] > z[:, 0, 0].mean()
        return torch.from_numpy(ROWS)[middle.long()]

    return Coder(encode, decode, settle, 4)


@pytest.mark.parametrize("dimension", latent.DIMENSIONS)
def test_members_of_a_family_have_its_operators_and_no_others_and_all_variables(dimension):
    members = latent.family_members(dimension, 4, seed=0)
    assert set(members) == set(FAMILIES)
    for name, functions in members.items():
        assert len(functions) == 4
        assert functions.used[:, :dimension].all()
        assert (functions.variables == dimension).all()
        assert torch.equal(functions.y, functions.clean)
        for family, ids in FAMILIES.items():
            has = np.isin(functions.tokens.numpy(), ids).any(1)
            assert (has == (family == name)).all()


def test_a_survey_reads_the_same_functions_for_every_network():
    one, two = latent.survey(toy(), 3, seed=1), latent.survey(toy(), 3, seed=1)
    assert np.array_equal(one.z, two.z)
    assert one.z.shape == (18, (4 + 1) * 2)
    assert (one.family == "trig").sum() == 6
    assert (one.dimension == 5).sum() == 9
    # Variables that do not exist take no part in the mean: of 0, 1 and of 0 to 4.
    assert (one.z[one.dimension == 2, -1] == 0.5).all()
    assert (one.z[one.dimension == 5, -1] == 2.0).all()


def test_a_walk_leads_from_one_formula_to_the_other():
    steps = latent.between(toy(), "a*exp(-b)", "sin(a)/b", steps=5)
    if steps[0].first < 0.9:  # which row comes first depends on which y is smaller
        steps = latent.between(toy(), "sin(a)/b", "a*exp(-b)", steps=5)
    assert [step.share for step in steps] == [0, 0.25, 0.5, 0.75, 1]
    assert steps[0].first == pytest.approx(1)
    assert steps[-1].second == pytest.approx(1)
    assert steps[0].second < 0.99
    assert {step.formula for step in steps} == {"a*exp(-b)", "sin(a)/b"}


def test_points_on_the_way_are_settled():
    seen = []
    latent.between(toy(settle=lambda z: seen.append(z) or z), "a", "b", steps=3)
    (z,) = seen
    assert z.shape == (3, 14, 2)
    assert torch.allclose(z[1], (z[0] + z[2]) / 2)


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        ("a +", "a +"),
        ("log(-a)", "no value"),
        ("a - a", "constant"),
        ("+".join(f"v{i}" for i in range(11)), "12 variables"),
    ],
)
def test_formulas_that_will_not_do_are_told(first, reason):
    with pytest.raises(UsageError) as caught:
        latent.between(toy(), first, "2e-1*sin(b*pi)")
    assert reason in str(caught.value)


def test_silhouettes_tell_groups_apart_from_a_mixture():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(60, 8))
    labels = np.repeat(["a", "b"], 30)
    z[:30, 0] += 30
    flat = plane(z)
    assert flat.shape == (60, 2)
    mixed = rng.permutation(labels)
    table = silhouettes(z, flat, {"groups": labels, "mixed": mixed}).set_index("grouping")
    assert (table.loc["groups"] > 0.5).all()
    assert (table.loc["mixed"].abs() < 0.15).all()


def test_terciles():
    assert terciles(np.array([5.0, -1e9, 0.0])).tolist() == ["high", "low", "middle"]


def typed(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lee-bench", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code or 0


def test_the_command_maps_weights_of_ones_own(tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    folder = tmp_path / "weights"
    folder.mkdir()
    checkpoint.save(folder, GenSR(TINY), TINY, {})
    output = tmp_path / "figures"
    arguments = ["latent", "gensr", "--weights", str(folder), "--count", "2", "--steps", "3"]
    assert typed(monkeypatch, *arguments, "--output", str(output), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["grouping"] for row in told["silhouettes"]][:2] == ["family", "dimension"]
    assert len(told["walk"]) == 3
    assert (output / "latent-gensr.png").stat().st_size > 10_000
    assert (output / "latent-gensr.svg").exists()


def test_missing_weights_are_told_without_a_traceback(tmp_path, monkeypatch, capsys):
    assert typed(monkeypatch, "latent", "gensr", "--weights", str(tmp_path)) == 1
    assert "no weights of GenSR" in " ".join(capsys.readouterr().err.split())
