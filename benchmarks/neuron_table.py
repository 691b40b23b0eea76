"""Time and memory of the neuron table at a published model's shape: two models, all neurons.

    python benchmarks/neuron_table.py --shape gpt2-medium --prompts 1199 --batch 128

Random weights, and prompts of 5 to 32 tokens, which is where the paper cuts them. Real ones are shorter.
"""

import argparse
import resource
import sys
import time

import torch
from speed import SHAPES, numbered_tokenizer, random_network

from dpotox.model.architecture import traced
from dpotox.model.tracing import read_generation
from dpotox.model.weights import value_vectors
from dpotox.paper.neurons import neuron_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="gpt2-medium")
    parser.add_argument("--prompts", type=int, default=1199)
    parser.add_argument("--prompt-tokens", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=20)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    lengths = torch.randint(4, arguments.prompt_tokens, (arguments.prompts,)).tolist()  # and one <eos>
    prompts = [" ".join(f"word{row + i}" for i in range(length)) for row, length in enumerate(lengths)]
    began, means, vectors = time.perf_counter(), [], []
    for seed in (0, 1):
        network = random_network(arguments.shape, seed)
        model = traced(network, numbered_tokenizer(network))
        direction = torch.ones(network.config.n_embd)
        _, read = read_generation(model, prompts, arguments.new_tokens, direction, batch_size=arguments.batch)
        means.append(read.activation[0])
        vectors.append(value_vectors(model))
        print(f"model {seed}: read after {time.perf_counter() - began:.0f} s", flush=True)
    table = neuron_table(*means, *vectors, direction)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{arguments.shape}: {len(table):,} neurons over {len(prompts):,} prompts x "
        f"{arguments.new_tokens} tokens, two models: {seconds / 60:.1f} min, peak {peak:.1f} GB"
    )
    if seconds > 600 or peak > 5:
        sys.exit("above the limit of 10 minutes and 5 GB")


if __name__ == "__main__":
    main()
