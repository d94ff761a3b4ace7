"""Writes koleo.safetensors: KoLeo of DINOv2 (arXiv 2304.07193, section 4; arXiv 1806.03198, equation 2).

Values twice, by the formula in NumPy, image by image, and as published code has it in PyTorch, whose autograd
gives the gradients; both in fp64, and the numbers of both have to agree. Central differences check gradients.
    python3 tests/golden/koleo.py
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

TINY = 1e-8


def by_formula(features: np.ndarray, group: np.ndarray) -> float:
    total = 0.0
    for view in features:
        unit = [row / max(np.sqrt(sum(row * row)), TINY) for row in view]
        for i, row in enumerate(unit):
            others = [j for j in range(len(unit)) if j != i and group[j] == group[i]]
            if others:
                nearest = min(others, key=lambda j: sum((row - unit[j]) ** 2))
                total -= np.log(np.sqrt(sum((row - unit[nearest] + TINY) ** 2)) + TINY)
    return total


def as_published(features: torch.Tensor) -> torch.Tensor:
    """KoLeoLoss of the published code for one view, times the images: a sum in place of a mean."""
    unit = torch.nn.functional.normalize(features, eps=TINY, p=2, dim=-1)
    with torch.no_grad():
        cosines = unit @ unit.t()
        cosines.fill_diagonal_(-1)
        nearest = cosines.argmax(dim=1)
    distance = torch.nn.PairwiseDistance(2, eps=TINY)(unit, unit[nearest])
    return -torch.log(distance + TINY).sum()


def in_groups(features: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
    parts = [features[:, group == g] for g in group.unique()]
    return sum(as_published(view) for part in parts if part.shape[1] > 1 for view in part)


def expected(features: torch.Tensor, group: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    leaf = features.double().requires_grad_()
    loss = in_groups(leaf, group)
    loss.backward()
    values = leaf.detach().numpy()
    assert abs(by_formula(values, group.numpy()) - loss.item()) < 1e-12 * abs(loss.item())
    for at in np.ndindex(values.shape):
        step = np.zeros_like(values)
        step[at] = 1e-6
        slope = (by_formula(values + step, group.numpy()) - by_formula(values - step, group.numpy())) / 2e-6
        assert abs(slope - leaf.grad[at].item()) < 1e-7, (at, slope, leaf.grad[at])
    return loss.detach().reshape(1), leaf.grad


def main() -> None:
    features = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(1)) * 3
    groups = {"all": torch.zeros(7, dtype=torch.int64), "group": torch.tensor([4, 9, 4, 9, 4, 9, 2])}
    tensors = {"in.features": features, "in.group": groups["group"]}
    for name, group in groups.items():
        tensors[f"out.loss_{name}"], tensors[f"out.grad_{name}"] = expected(features, group)
    about = {"what": "KoLeo of 2 views of 7 images, among all and in groups", "source": "tests/golden/koleo.py"}
    save_file(tensors, Path(__file__).with_name("koleo.safetensors"), {"json": json.dumps(about)})


if __name__ == "__main__":
    main()
