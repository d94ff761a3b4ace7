"""Makes arrays.npz and stored.npz beside this file, the fixtures of npz_test.cpp: python3 arrays.py"""
import pathlib

import numpy as np

FOLDER = pathlib.Path(__file__).parent
np.savez_compressed(
    FOLDER / "arrays.npz",
    images_u2=(np.arange(60, dtype="u2") * 1000).reshape(4, 3, 5),
    names=np.array(["a", "größer", "", "日本𝄞"]),
    i4=np.array([-1, 0, 1, 2**31 - 1], dtype="i4"),
    i8=np.array([-1, 0, 1, 2**53 + 1], dtype="i8"),
    flags=np.array([True, False, True, True]),
    fortran=np.asfortranarray(np.ones((2, 3), dtype="u1")),
    complex=np.ones(2, dtype="c8"),
    big_endian=np.ones(2, dtype=">i4"),
)
np.savez(FOLDER / "stored.npz", x=np.array([0.5, 1, -3], dtype="f4"))
