"""How does DPO reduce toxicity? The thin library under the book: start with `dpotox.study`."""

import os

# Threads that wait for others sleep instead of spinning. Alone that costs time, but beside another busy
# program libgomp's own default takes up to ten times as long (`benchmarks/not_alone.py`).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
