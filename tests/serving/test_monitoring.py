from __future__ import annotations

from serving.monitoring import Histogram


def test_a_value_at_a_bound_belongs_to_the_bucket_above() -> None:
    """As TensorFlow counts (histogram.cc), whose buckets do not hold their upper bounds."""
    rows = Histogram("rows", (1, 2, 4), "name")
    for value in (0, 1, 2, 3, 4, 5):
        rows.observe(value, "m")
    told = dict(line.rsplit(" ", 1) for line in rows.lines() if "_bucket" in line)
    assert [*told.values()] == ["1", "2", "4", "6"]
