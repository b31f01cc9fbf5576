# SPDX-License-Identifier: Apache-2.0
"""Readouts over a finite data set: what they compute, what they refuse, and their way to disk."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infwidth import infinite
from infwidth.config.errors import UserError
from infwidth.kernels import relu_kernel

KERNEL = partial(relu_kernel, bias=1.0)
RNG = np.random.default_rng(0)
X_NxD = RNG.normal(size=(12, 3)).astype(np.float32)
TARGET_NxE = np.sin(X_NxD[:, :2])
BATCH_SxK = RNG.integers(12, size=(30, 5))
SOLVER = infinite.chain(
    infinite.clip_by_functional_norm(0.5), infinite.adam_star(0.05, weight_decay=0.01)
)
# float32, a few dozen steps and sums of a dozen terms.
CLOSE = {"rtol": 2e-5, "atol": 2e-6}


def square(f_KxE, target_KxE):
    return jnp.mean(jnp.square(f_KxE - target_KxE))


def trained(x_NxD=X_NxD, target_NxE=TARGET_NxE, batch_SxK=BATCH_SxK, **options):
    readout = infinite.Readout(KERNEL, x_NxD, target_NxE.shape[1], **options)
    return readout, readout.train(SOLVER, square, target_NxE, batch_SxK)[0]


def test_it_starts_at_zero_and_learns():
    readout = infinite.Readout(KERNEL, X_NxD, 2)
    assert (readout(readout.init(SOLVER).coefficients_NxE, X_NxD) == 0).all()
    every = np.tile(np.arange(12), (200, 1))
    _, losses_S = readout.train(infinite.sgd(2.0, momentum=0.9), square, TARGET_NxE, every)
    assert losses_S[0] == pytest.approx(np.mean(TARGET_NxE**2), rel=1e-5)
    assert losses_S[-1] < 0.05 * losses_S[0]


@pytest.mark.parametrize("block", [1, 5, 1000])
def test_outputs_are_the_kernel_sum_whatever_the_blocks(block):
    _, state = trained()
    c_NxE, readout = state.coefficients_NxE, infinite.Readout(KERNEL, X_NxD, 2, block=block)
    np.testing.assert_allclose(readout.gram_NxN, KERNEL(X_NxD, X_NxD), rtol=1e-5, atol=1e-6)
    for inputs in (RNG.normal(size=(7, 3)).astype(np.float32), X_NxD, X_NxD[:0]):
        expected = np.asarray(KERNEL(inputs, X_NxD), np.float64) @ np.asarray(c_NxE, np.float64)
        np.testing.assert_allclose(readout(c_NxE, inputs), expected, **CLOSE)
    # The examples themselves need no name.
    np.testing.assert_allclose(readout(c_NxE), readout(c_NxE, X_NxD), **CLOSE)


def test_many_examples_are_summed_in_blocks():
    # A kernel that is nowhere defined at 0, where inputs that fill up a block must not lie.
    def cosine(x_NxD, y_MxD):
        x_NxD, y_MxD = (z / jnp.linalg.norm(z, axis=1, keepdims=True) for z in (x_NxD, y_MxD))
        return x_NxD @ y_MxD.T

    N, M = 20_001, 601
    x_NxD, y_MxD = RNG.normal(size=(N, 3)), RNG.normal(size=(M, 3))
    c_NxE = RNG.normal(size=(N, 2)) / N
    readout = infinite.Readout(cosine, x_NxD, 2, gram_limit=0)
    found_MxE = readout(jnp.asarray(c_NxE, jnp.float32), y_MxD)
    unit_NxD, unit_MxD = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x_NxD, y_MxD))
    np.testing.assert_allclose(found_MxE, unit_MxD @ (unit_NxD.T @ c_NxE), atol=1e-6)


def test_rows_are_those_of_the_kernel():
    readout = infinite.Readout(KERNEL, X_NxD, 2, block=5)
    blocks = list(readout.rows(X_NxD))
    assert [len(theta_BxN) for theta_BxN in blocks] == [5, 5, 2]
    np.testing.assert_array_equal(np.concatenate(blocks), readout.gram_NxN)
    with pytest.raises(ValueError, match="must have dimension 3"):
        next(readout.rows(X_NxD[:, :2]))


@pytest.mark.parametrize(
    "make",
    [
        lambda _: SOLVER,
        lambda _: infinite.muon_star(0.1, 0.8, 1e-3),
        lambda readout: infinite.eigenpro(1.0, readout, 5, momentum=0.5, subsample=10),
    ],
    ids=["adam_star", "muon_star", "eigenpro"],
)
def test_without_room_for_the_kernel_matrix_it_trains_the_same(make):
    found = []
    with jax.enable_x64(True):
        for limit in (12 * 12 * 8, 12 * 12 * 8 - 1):
            readout = infinite.Readout(KERNEL, X_NxD.astype(float), 2, gram_limit=limit)
            state, _ = readout.train(make(readout), square, TARGET_NxE.astype(float), BATCH_SxK)
            found.append((state.coefficients_NxE, readout(state.coefficients_NxE)))
            assert (readout.gram_NxN is None) == (len(found) == 2)
    jax.tree.map(lambda *both: np.testing.assert_allclose(*both, rtol=1e-8, atol=1e-10), *found)


def test_training_in_parts_is_training_in_one():
    readout, whole = trained()
    half, _ = readout.train(SOLVER, square, TARGET_NxE, BATCH_SxK[:17])
    found, _ = readout.train(SOLVER, square, TARGET_NxE, BATCH_SxK[17:], half)
    for part, one in zip(jax.tree.leaves(found), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(part, one)


def test_any_loss_and_tree_of_targets():
    def cross_entropy(logits_KxE, target):
        chosen_Kx1 = jnp.take_along_axis(logits_KxE, target["label"][:, None], axis=1)
        nats_K = jax.nn.logsumexp(logits_KxE, axis=1) - chosen_Kx1[:, 0]
        return jnp.sum(target["weight"] * nats_K)

    targets = {"label": np.arange(12) % 3, "weight": np.full(12, 0.2, np.float32)}
    readout = infinite.Readout(KERNEL, X_NxD, 3)
    state, losses_S = readout.train(
        infinite.sgd(0.1), cross_entropy, targets, np.array([[0, 1, 2, 3, 4]])
    )
    assert losses_S[0] == pytest.approx(np.log(3), rel=1e-6)
    # From f = 0 every class has a third: δ = 0.2 (1/3 − 1[class]), and c = −0.1 δ.
    expected = np.zeros((12, 3))
    expected[:5] = -0.1 * 0.2 * (1 / 3 - np.eye(3)[np.arange(5) % 3])
    np.testing.assert_allclose(state.coefficients_NxE, expected, rtol=1e-6, atol=1e-9)


def test_a_point_that_stands_there_twice_is_one_point():
    twice_NxD = np.concatenate([X_NxD, X_NxD[:4]])
    batch_SxK = np.where(BATCH_SxK < 4, 12 + BATCH_SxK, BATCH_SxK)
    twice, split = trained(twice_NxD, np.concatenate([TARGET_NxE, TARGET_NxE[:4]]), batch_SxK)
    once, state = trained()
    found, expected = twice(split.coefficients_NxE, X_NxD), once(state.coefficients_NxE)
    np.testing.assert_allclose(found, expected, **CLOSE)


def test_constant_inputs_have_one_output():
    readout, state = trained(np.full_like(X_NxD, 0.5))
    f_NxE = np.asarray(readout(state.coefficients_NxE))
    assert np.isfinite(f_NxE).all()
    np.testing.assert_allclose(f_NxE, np.broadcast_to(f_NxE[:1], f_NxE.shape), rtol=1e-6)


def test_integer_inputs_count_as_floats():
    readout = infinite.Readout(KERNEL, np.arange(6).reshape(2, 3), 1)
    assert readout.gram_NxN.dtype == jnp.float32


def with_nan(array_NxD):
    return np.where(np.arange(len(array_NxD))[:, None] == 3, np.nan, array_NxD)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((KERNEL, X_NxD[:0], 2), "at least one of them; got shape \\(0, 3\\)"),
        ((KERNEL, X_NxD[0], 2), "examples are a matrix"),
        ((KERNEL, with_nan(X_NxD), 2), "example 3 holds a number that is not finite"),
        ((KERNEL, X_NxD, 0), "outputs must be at least 1; got 0"),
        ((KERNEL, X_NxD, 1.5), "outputs must be an integer; got 1.5"),
        ((lambda x, y: x @ x.T, X_NxD, 2), "must be of shape \\(1, 12\\)"),
    ],
)
def test_bad_data_are_refused(arguments, line):
    with pytest.raises(ValueError, match=line):
        infinite.Readout(*arguments)


@pytest.mark.parametrize(("block", "line"), [(0, "at least 1"), (2.5, "an integer")])
def test_a_block_that_is_no_count_is_refused(block, line):
    with pytest.raises(ValueError, match=f"block must be {line}; got {block}"):
        infinite.Readout(KERNEL, X_NxD, 2, block=block)


@pytest.mark.parametrize(
    ("targets", "batches", "line"),
    [
        (TARGET_NxE[:5], BATCH_SxK, "12 examples need 12 targets; got shape \\(5, 2\\)"),
        (with_nan(TARGET_NxE), BATCH_SxK, "target 3 holds a number that is not finite"),
        (TARGET_NxE, BATCH_SxK + 8, "numbers of examples, 0 to 11"),
        (TARGET_NxE, BATCH_SxK - 1, "numbers of examples, 0 to 11"),
        (TARGET_NxE, BATCH_SxK[0], "batches are a matrix"),
        (TARGET_NxE, BATCH_SxK[:, :0], "batches are a matrix"),
    ],
)
def test_bad_targets_and_batches_are_refused(targets, batches, line):
    with pytest.raises(ValueError, match=line):
        infinite.Readout(KERNEL, X_NxD, 2).train(SOLVER, square, targets, batches)


@pytest.mark.parametrize(
    ("inputs", "line"),
    [
        (X_NxD[:, :2], "must have dimension 3, as the examples have; got shape \\(12, 2\\)"),
        (X_NxD[0], "must have dimension 3"),
        (with_nan(X_NxD), "input 3 holds a number that is not finite"),
    ],
)
def test_bad_inputs_are_refused(inputs, line):
    readout, state = trained()
    with pytest.raises(ValueError, match=line):
        readout(state.coefficients_NxE, inputs)


def test_what_was_saved_goes_on_bit_by_bit(tmp_path):
    readout, state = trained()
    path = tmp_path / "new folder" / "readout.json"
    infinite.save(path, readout, state)
    loaded, again = infinite.load(path, KERNEL, SOLVER)
    expected, _ = readout.train(SOLVER, square, TARGET_NxE, BATCH_SxK, state)
    found, _ = loaded.train(SOLVER, square, TARGET_NxE, BATCH_SxK, again)
    for part, one in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(part, one)


def test_saving_again_takes_the_old_one_s_place_unless_it_is_killed(tmp_path, monkeypatch):
    readout, state = trained()
    path = tmp_path / "readout.json"
    infinite.save(path, readout, readout.init(SOLVER))
    infinite.save(path, readout, state)
    assert len(list(tmp_path.iterdir())) == 2

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("infwidth.infinite.saving.write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        infinite.save(path, readout, readout.init(SOLVER))
    _, found = infinite.load(path, KERNEL, SOLVER)
    np.testing.assert_array_equal(found.coefficients_NxE, state.coefficients_NxE)


def test_damaged_missing_or_foreign_files_are_named(tmp_path):
    readout, state = trained()
    path = tmp_path / "readout.json"
    with pytest.raises(UserError, match=r"readout\.json is missing"):
        infinite.load(path, KERNEL, SOLVER)
    infinite.save(path, readout, state)
    with pytest.raises(UserError, match="trained by another rule"):
        infinite.load(path, KERNEL, infinite.sgd(0.1))
    with jax.enable_x64(True), pytest.raises(UserError, match="saved in float32 and is read in"):
        infinite.load(path, lambda x, y: KERNEL(x, y).astype(float), SOLVER)
    (arrays,) = tmp_path.glob("*.npz")
    arrays.write_bytes(arrays.read_bytes()[:-1])
    with pytest.raises(UserError, match=f"{arrays.name} is damaged"):
        infinite.load(path, KERNEL, SOLVER)
    arrays.unlink()
    with pytest.raises(UserError, match=f"{arrays.name}: cannot be read"):
        infinite.load(path, KERNEL, SOLVER)
