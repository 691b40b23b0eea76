"""How the settings of the embedded model change it: loss above the bound and inactive neurons.

    python benchmarks/embedded_variants.py

Pre-trains every variant for the number of rows of the profile `mini`, seed 0; minutes each.
"""

import dataclasses
import time

import torch

from dpotox.inputs.networks import traced
from dpotox.inputs.pretraining import generated_corpus, generated_documents, generated_loss, pretrain
from dpotox.model.tracing import read_generation
from dpotox.profile import load_profile

VARIANTS = {
    "no weight decay, no bias": {"muon_weight_decay": 0.0, "mlp_bias": 0.0},
    "no weight decay, bias -1": {"muon_weight_decay": 0.0, "mlp_bias": -1.0},
    "weight decay 0.1, no bias": {"mlp_bias": 0.0},
    "weight decay 0.1, bias -0.5 (mini)": {},
    "weight decay 0.3, bias -0.5": {"muon_weight_decay": 0.3},
    "weight decay 0.1, bias -1": {"mlp_bias": -1.0},
    "twice the neurons": {"d_mlp": 1024},
}


def main() -> None:
    profile = load_profile("mini")
    torch.set_num_threads(profile.compute.threads)
    train, unseen = generated_documents(profile.pretraining, 0)
    corpus = generated_corpus(train, unseen)
    prompts = [" ".join(d.words[:15]) for d in unseen[:300]]
    for name, changes in VARIANTS.items():
        began = time.monotonic()
        settings = dataclasses.replace(profile.pretraining, **changes)
        network, _ = pretrain(corpus, settings, 0)
        seconds = time.monotonic() - began
        excess = generated_loss(network, corpus.unseen, unseen).excess
        direction = torch.ones(settings.d_model)
        _, read = read_generation(traced(network, corpus.tokenizer), prompts, 20, direction, batch_size=300)
        inactive = (read.activation < 0).float().mean().item()
        print(f"{name:36} {seconds:4.0f} s  {excess:.4f} nats above  {inactive:.1%} negative", flush=True)


if __name__ == "__main__":
    main()
