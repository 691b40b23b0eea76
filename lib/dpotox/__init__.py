"""How does DPO reduce toxicity? The thin library under the book: start with `dpotox.study`."""
