"""Writes sinkhorn.safetensors: Sinkhorn-Knopp centring of DINOv2 (arXiv 2304.07193; arXiv 2006.09882).

Twice in fp64, with numbers that have to agree: Q itself in NumPy as the algorithm is written, and in PyTorch as
two vectors of factors, of rows and of columns.
    python3 tests/golden/sinkhorn.py
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

ROUNDS = 3


def by_matrix(logits: np.ndarray, temperature: float) -> np.ndarray:
    q = np.exp(logits / temperature).T  # [K, B]
    prototypes, images = q.shape
    q /= q.sum()
    for _ in range(ROUNDS):
        q /= q.sum(1, keepdims=True) * prototypes
        q /= q.sum(0, keepdims=True) * images
    return (q * images).T


def by_factors(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    kernel = torch.exp(logits / temperature)
    of_images = torch.ones(len(logits), dtype=torch.float64)
    for _ in range(ROUNDS):
        of_prototypes = 1 / (kernel.t() @ of_images)
        of_images = 1 / (kernel @ of_prototypes)
    return of_images[:, None] * kernel * of_prototypes


def main() -> None:
    logits = torch.randn(24, 10, generator=torch.Generator().manual_seed(2)) * 0.3
    tensors = {"in.logits": logits}
    for temperature in (0.04, 0.07):
        expected = by_matrix(logits.double().numpy(), temperature)
        assert np.abs(by_factors(logits.double(), temperature).numpy() - expected).max() < 1e-13
        tensors[f"out.probabilities_{temperature}"] = torch.from_numpy(expected.copy())
    about = {"what": "Sinkhorn-Knopp of 24 rows and 10 prototypes", "source": "tests/golden/sinkhorn.py"}
    save_file(tensors, Path(__file__).with_name("sinkhorn.safetensors"), {"json": json.dumps(about)})


if __name__ == "__main__":
    main()
