"""The optimisers, their state as numpy arrays, and the running average of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adadelta, Adagrad, Adam, AdamW, Optimizer, RMSprop

from rhapsode.backends.base import StepResult
from rhapsode.config import TrainConfig
from rhapsode.nn.spec import DECAYED, Parameter


def make_optimizer(train: TrainConfig, spec: list[Parameter], weights: Mapping[str, Tensor]) -> Optimizer:
    """The optimiser of `train` over `weights`, in groups with a `scale` of the learning rate and a weight decay."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for p in spec:
        scale = train.rate_multiple(p.role)
        decay = train.weight_decay if p.role in DECAYED else 0.0
        groups.setdefault((scale, decay), []).append(weights[p.name])
    listed: Any = [{"params": ws, "scale": s, "weight_decay": d} for (s, d), ws in groups.items()]
    betas = (train.beta1, train.beta2)
    match train.optimizer:
        case "sgd":
            return SGD(listed, train.lr, momentum=train.momentum, nesterov=train.nesterov, fused=True)
        case "adagrad":
            return Adagrad(listed, train.lr, eps=train.eps)
        case "adadelta":
            return Adadelta(listed, train.lr, rho=train.beta2, eps=train.eps)
        case "rmsprop":
            return RMSprop(listed, train.lr, alpha=train.beta2, eps=train.eps, momentum=train.momentum)
        case "adam":
            return Adam(listed, train.lr, betas=betas, eps=train.eps, fused=True)
        case "adamw":
            return AdamW(listed, train.lr, betas=betas, eps=train.eps, fused=True)


def set_lr(optimizer: Optimizer, lr: float) -> None:
    """The learning rate of the next step, before the groups' own scales."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["scale"]


def step(
    optimizer: Optimizer, train: TrainConfig, weights: Mapping[str, Tensor], loss: Tensor, lr: float
) -> StepResult:
    """Clip the gradients and update, if loss and gradients are finite; then forget the gradients. Waits for the device
    in one place only."""
    gradients = [weight.grad for weight in weights.values() if weight.grad is not None]
    size = clipped = norm(gradients)
    if train.clip_value:
        for gradient in gradients:
            gradient.clamp_(-train.clip_value, train.clip_value)
        clipped = norm(gradients)
    loss_, size_, clipped_ = torch.stack([loss, size, clipped]).tolist()
    result = StepResult(loss_, size_)
    if result.is_finite:
        if 0 < train.clip_norm < clipped_:
            for gradient in gradients:
                gradient *= train.clip_norm / clipped_
        set_lr(optimizer, lr)
        optimizer.step()
    optimizer.zero_grad()
    return result


def slots(optimizer: Optimizer, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the optimiser remembers, as ``<slot>.<parameter>``; torch's names of the slots.

    The count of steps is left out: it is the same for all parameters.
    """
    return {
        f"{slot}.{name}": value
        for name, weight in weights.items()
        for slot, value in optimizer.state.get(weight, {}).items()
        if slot != "step" and value is not None
    }


def restore(optimizer: Optimizer, weights: Mapping[str, Tensor], slots: Mapping[str, Tensor], updates: int) -> None:
    """Put `slots` and the count of steps into an optimiser over `weights`, in place of what it remembered."""
    grouped = [weight for group in optimizer.param_groups for weight in group["params"]]
    index = {name: next(i for i, w in enumerate(grouped) if w is weight) for name, weight in weights.items()}
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in slots.items():
        slot, _, name = key.partition(".")
        state.setdefault(index[name], {"step": torch.tensor(float(updates))})[slot] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def norm(gradients: list[Tensor]) -> Tensor:
    """The Euclidean norm of all gradients together."""
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))


def update_average(average: Mapping[str, Tensor], weights: Mapping[str, Tensor], decay: float, updates: int) -> None:
    """After the n-th update: average ← d average + (1 - d) weights, with d = min(decay, (1 + n) / (10 + n)), so that
    early on the average is one of the latest weights and not of the initial ones."""
    d = min(decay, (1 + updates) / (10 + updates))
    for name, value in average.items():
        value.lerp_(weights[name], 1 - d)
