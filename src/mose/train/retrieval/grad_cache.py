"""Exact gradients of a large contrastive batch in the memory of one mini-batch, over all exits at once.

Gao et al., 2021 ("Scaling deep contrastive learning batch size under memory limited setup"): encode
without a graph, take the loss's gradient at the vectors, encode again with a graph and backpropagate that
gradient. One second pass serves every exit. The state of the random generators is restored before the second
pass, so dropout is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

Inputs = TypeVar("Inputs")
Encode = Callable[[Inputs], dict[int, Tensor]]
"""One mini-batch -> exit -> vectors."""
Loss = Callable[[dict[int, Tensor]], dict[str, Tensor]]
"""Exit -> vectors of all mini-batches, in order -> named terms with "total"."""


class _Random:
    """The state of the random generators at one moment."""

    def __init__(self) -> None:
        self._cpu = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None

    def restore(self) -> None:
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda)


def loss_terms(encode: Encode[Inputs], mini_batches: Sequence[Inputs], loss: Loss) -> dict[str, Tensor]:
    """The terms of the loss over all mini-batches at once."""
    encoded = [encode(inputs) for inputs in mini_batches]
    return loss({exit_layer: torch.cat([vectors[exit_layer] for vectors in encoded]) for exit_layer in encoded[0]})


def plain_backward(encode: Encode[Inputs], mini_batches: Sequence[Inputs], loss: Loss) -> dict[str, Tensor]:
    """Like ``cached_backward``, but keeps all activations: more memory, one forward pass less.

    Returns:
        The terms of the loss, detached; gradients are added to the parameters.
    """
    terms = loss_terms(encode, mini_batches, loss)
    terms["total"].backward()  # type: ignore[no-untyped-call]
    return {name: term.detach() for name, term in terms.items()}


def cached_backward(encode: Encode[Inputs], mini_batches: Sequence[Inputs], loss: Loss) -> dict[str, Tensor]:
    """Add the gradients of the loss over all mini-batches, keeping the activations of one at a time.

    Args:
        encode: Run twice for each mini-batch.
        mini_batches: Inputs; the rows of the loss are in their order.
        loss: May hold parameters of its own (the similarity factor); they get their gradient here.

    Returns:
        The terms of the loss, detached; gradients are added to the parameters.
    """
    states: list[_Random] = []
    encoded: list[dict[int, Tensor]] = []
    with torch.no_grad():
        for inputs in mini_batches:
            states.append(_Random())
            encoded.append(encode(inputs))
    after = _Random()
    sizes = [len(next(iter(vectors.values()))) for vectors in encoded]
    leaves = {
        exit_layer: torch.cat([vectors[exit_layer] for vectors in encoded]).requires_grad_()
        for exit_layer in encoded[0]
    }
    terms = loss(leaves)
    terms["total"].backward()  # type: ignore[no-untyped-call]
    gradients = {
        exit_layer: torch.split(leaf.grad, sizes) for exit_layer, leaf in leaves.items() if leaf.grad is not None
    }
    for number, inputs in enumerate(mini_batches):
        states[number].restore()
        again = encode(inputs)
        parts = [
            (again[exit_layer], gradients[exit_layer][number])
            for exit_layer in gradients
            if again[exit_layer].requires_grad
        ]
        if parts:
            torch.autograd.backward([part[0] for part in parts], [part[1] for part in parts])
    after.restore()
    return {name: term.detach() for name, term in terms.items()}
