"""What a model is, apart from what computes it: its parameters, its state and its equations.

A `ModelConfig` describes this network, for ids x[T, B] and a state that is passed in and returned:

    v_0     = vector(x)                                  one-hot table row, embedding or scalar
    z_l     = norm_l(v_l)                                 where norm is on and v_l is a vector
    u_l     = conv_l(z_l, state_l)                        where conv is on and v_l is a vector, else z_l; see nn/blocks
    h_l     = cell_l(W_ih u_l + b, state_l)               over all T steps; see nn/cells
    y_l     = v_l + h_l   if residual and the widths agree, else   h_l
    v_l+1   = y_l + mlp_l(norm'_l(y_l))                   where mlp is on, else y_l; see nn/blocks
    logits  = W_out norm_out(v_L) + b_out

Dropout falls on v_0 (input), on v_1 … v_L-1 as the next layer reads them (between layers) and on what the output
layer reads (output); DropConnect on each W_hh. With one-hot input W_ih v_0 + b is a row of a table P[V, G*H]: a gather
instead of a matrix product, the same numbers.

`spec` names the parameters and draws their initial values, the same for every backend. `forward` is the reference in
numpy: short and slow, what every backend and engine is compared with.
"""
