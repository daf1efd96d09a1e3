// The output layer in bf16 on AMX.
#include <algorithm>

#include "activations.h"
#include "make.h"
#include "parameters.h"
#include "threads.h"

namespace rhapsode::amx {
namespace {

// Rows whose gradients of logits are kept at once, in blocks of 32: bounds the memory of large vocabularies.
constexpr int64_t MOST_BLOCKS = 64;

class TileOutput : public OutputLayer {
 public:
  explicit TileOutput(const OutputSpec& spec)
      : V_(spec.vocabulary), H_(spec.hidden), weight_("weight", GateColumns{1, 2, spec.vocabulary}, spec.hidden),
        bias_("bias", GateColumns{1, 2, spec.vocabulary}) {}

  std::vector<Parameter*> parameters() override { return {&weight_, &bias_}; }

  Loss train(const Activations& x, const Mask& mask, const int32_t* targets, const float* weights, float scale,
             bool accumulate) override {
    OutputPass pass = enter(x, true);
    mask_.set(mask, x.rows(), H_);
    pass.targets = targets, pass.weights = weights, pass.scale = scale, pass.kept = mask_.kept();
    d_input_.tiles = {nullptr, pass.x.T, pass.x.B, H_};
    d_input_data_.reserve(d_input_.tiles.size());
    pass.d_x = d_input_.tiles, pass.d_x.data = d_input_.tiles.data = d_input_data_.data();
    const int64_t begin = pass.x.place(weightless(weights, x.rows())) / PAIR;  // in blocks
    std::fill_n(d_input_data_.data(), begin * d_input_.tiles.width() * 2 * TILE, bf16{});
    const int64_t blocks = pass.x.blocks(), most = std::min(blocks - begin, MOST_BLOCKS);
    pass.tokens_pitch = most + 1;
    tokens_.reserve(pass.Q * pass.tokens_pitch * 2 * TILE);
    pass.tokens = tokens_.data();
    if (mask.on()) {
      dropped_.reserve(2 * pass.P * pass.tokens_pitch * TILE);
      parallel([&](const Team& team) { mask_.draw(team.thread, team.threads); });
    }
    for (int64_t first = begin; first < blocks; first += most, accumulate = true) {
      pass.first_block = first, pass.last_block = std::min(blocks, first + most);
      parallel([&](const Team& team) {
        output_pass(pass, team.thread, team.threads);
        const TurnedTiles read = turned(pass, team);
        team.barrier();
        gradients(pass, read, accumulate, team);
      });
    }
    Loss loss;
    for (int64_t r = pass.x.first_row(begin); r < x.rows(); r++)
      loss.sum += (weights ? double{weights[r]} : 1.0) * nats_[r];
    return loss;
  }

  const Activations& d_input() override { return d_input_; }

  void losses(const Activations& x, const int32_t* targets, float* nats) override {
    OutputPass pass = enter(x, false);
    pass.targets = targets, pass.nats = nats;
    run(pass);
  }

  void logits(const Activations& x, float* plain) override {
    OutputPass pass = enter(x, false);
    pass.logits = plain;
    run(pass);
  }

 private:
  OutputPass enter(const Activations& x, bool training) {
    reader_.read_packed(x, training);
    OutputPass pass{};
    pass.x = reader_.tiles, pass.last_block = pass.x.blocks();
    pass.forward_weights = weight_.forward(), pass.backward_weights = weight_.backward(), pass.bias = bias_.value.data();
    pass.V = V_, pass.P = weight_.P(), pass.Q = weight_.Q();
    nats_.reserve(x.rows());
    pass.nats = nats_.data();
    scratch_.reserve(thread_count() * output_scratch(pass.Q, pass.P));
    tile_scratch_.reserve(thread_count() * output_tiles(pass.Q, pass.P));
    pass.scratch = scratch_.data(), pass.tile_scratch = tile_scratch_.data();
    return pass;
  }

  void run(const OutputPass& pass) {
    parallel([&](const Team& team) { output_pass(pass, team.thread, team.threads); });
  }

  // The pass's blocks of what the output layer reads, turned.
  TurnedTiles turned(const OutputPass& pass, const Team& team) {
    const TurnedTiles x{reader_.turned.data + pass.first_block * TILE, reader_.turned.pitch};
    if (!pass.kept.on()) return x;
    const TurnedTiles dropped{dropped_.data(), pass.tokens_pitch};
    drop_turned(pass, x, dropped, team.thread, team.threads);
    return dropped;
  }

  void gradients(const OutputPass& pass, const TurnedTiles& x, bool accumulate, const Team& team) {
    const TokenTiles d{tokens_.data(), pass.tokens_pitch, pass.Q, 0};
    const int64_t blocks = pass.last_block - pass.first_block;
    const RowSums sums{d, {nullptr, 1, blocks * PAIR, 0}, weight_.columns(), 1, nullptr, nullptr, bias_.gradient.data(), accumulate};
    weight_gradient({x, d, blocks, pass.P, pass.Q, weight_.gradient.data(), accumulate, Kept{}, weight_.columns(), &sums},
                    team.thread, team.threads);
  }

  const int64_t V_, H_;
  TileMatrix weight_;
  TileVector bias_;
  TileReader reader_;
  DrawnMask mask_;
  TileActivations d_input_;
  Buffer<bf16> d_input_data_, tokens_, dropped_, tile_scratch_;
  Buffer<float> nats_, scratch_;
};

}  // namespace

std::unique_ptr<OutputLayer> make_output(const OutputSpec& spec) { return std::make_unique<TileOutput>(spec); }

}  // namespace rhapsode::amx
