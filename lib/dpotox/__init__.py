"""How does DPO reduce toxicity? The thin library under the book: start with `dpotox.run.study`."""

import os

# Threads that wait for others spin a thousand turns and then sleep. libgomp's own default is up to twice as
# fast alone, but beside another busy program takes up to ten times as long (`benchmarks/not_alone.py`).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
