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

import pyarrow as pa  # noqa: E402  (pyarrow 26: table.parquet for table_test.cpp)
import pyarrow.parquet  # noqa: E402

columns = {
    "name": pa.array(["a", None, "größer, \"b\"", ""]),
    "kind": pa.array(["x", "y", None, "x"]).dictionary_encode(),
    "count": pa.array([1, -2, None, 2**53 + 1], pa.int64()),
    "part": pa.array([0.5, -1.25, 3.0, None], pa.float64()),
    "flag": pa.array([True, False, None, True]),
    "long": pa.array(["p", "q", "r", None], pa.large_string()),
    "nan": pa.array([1.0, float("nan"), 0.5, None], pa.float64()),  # as pandas writes what is missing
    "nan32": pa.array([float("nan"), 2.5, -1.0, 0.0], pa.float32()),
    "list": pa.array([[1], [], None, [2, 3]]),
}
pyarrow.parquet.write_table(pa.table(columns), FOLDER / "table.parquet", row_group_size=3)
