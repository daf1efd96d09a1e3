"""The model in PyTorch: the judge of the native backend, the way to CUDA, and the place to try a new cell.

Nothing else in rhapsode imports torch. `learner` is the backend; `model` the network, `cells` its recurrences, `loss`
the output layer with its cross-entropy, `masks` the dropout masks, `optim` the optimisers and the averaged weights.
"""
